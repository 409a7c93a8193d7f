"""Round a language model's weights by GPTQ (arXiv 2210.17323), for `tweak_model.py --quantizer file`.

    python scripts/gptq_weights.py --data runs/calibration.safetensors --bits 4 --output runs/gptq.safetensors
    python scripts/gptq_weights.py --data runs/calibration.safetensors --bits 3 --group-size 64 --symmetric \\
        --output runs/gptq.safetensors
    python scripts/tweak_model.py --quantizer file --weights runs/gptq.safetensors \\
        --data runs/calibration.safetensors --output runs/tweaked

The linear layers of the decoder are rounded and written as floats, under the model's names for them; embeddings and
head are not. Needs llm-compressor, in an environment of its own (docs/norm_tweaking.md).
"""

from __future__ import annotations

from ctrlg.arguments import Natural, Positive, checked
from ctrlg.terminal.program import Program
from normtweaking.defaults import BATCH_SIZE, BITS


@checked
def main(
    data: str,
    output: str,
    model: str = "default-base",
    bits: int = BITS,
    group_size: int | None = None,
    symmetric: bool = False,
    batch_size: Positive = BATCH_SIZE,
    device: str = "cpu",
    threads: Natural = 0,
) -> None:
    """Round weights by GPTQ.

    Args:
        data: calibration of generate_data.py.
        output: safetensors file of the rounded weights.
        model: Hugging Face id, folder, .gguf file, 'default' or 'default-base'.
        bits: 2 to 8.
        group_size: inputs that share a step; where None whole channels.
        symmetric: levels symmetric around zero.
        batch_size: texts at once.
        device: cpu or cuda.
        threads: of the processor; 0 for all.
    """
    import torch

    from ctrlg.files.outputs import check_output_file
    from ctrlg.loading.language_models import load_language_model
    from normtweaking import CalibrationData, RoundToNearest
    from normtweaking.rounding.gptq import require_llmcompressor, write_gptq_weights

    if threads:
        torch.set_num_threads(threads)
    require_llmcompressor()
    check_output_file(output)
    scheme = RoundToNearest(bits, group_size, symmetric)
    texts = CalibrationData.load(data)
    loaded, _ = load_language_model(model, device, torch.float32)
    write_gptq_weights(loaded, texts, scheme, output, batch_size)


PROGRAM = Program(main, "gptq_weights.py", __doc__)

if __name__ == "__main__":
    PROGRAM.main()
