"""Texts to calibrate Norm Tweaking on: written by the language model itself, or cut out of a file.

    python scripts/generate_data.py --model default-base --samples 128 --length 2048 \\
        --languages en,fr --output runs/calibration.safetensors
    python scripts/generate_data.py --samples 32 --length 512 --seed 1 --output runs/small.safetensors
    python scripts/generate_data.py --text train.txt --samples 64 --length 1024 --output runs/text.safetensors

A text begins with a token sampled from the vocabulary (of the languages given), goes on with the likeliest tokens, then
with sampled ones (LLM-QAT). A job that was interrupted goes on with the next batch and ends with the same data.
"""

from __future__ import annotations

from dataclasses import replace

from ctrlg.arguments import Natural, checked
from ctrlg.terminal.program import Program
from normtweaking.texts.settings import CalibrationSettings


@checked
def main(
    output: str,
    settings: CalibrationSettings,
    model: str = "default-base",
    languages: str = "",
    text: str = "",
    device: str = "cpu",
    bfloat16: bool = False,
    threads: Natural = 0,
) -> None:
    """Make calibration texts.

    Args:
        output: safetensors file.
        model: Hugging Face id, folder, .gguf file, 'default' or 'default-base'.
        languages: of first tokens, such as en,zh; all where empty.
        text: cut the samples out of this file instead.
        device: cpu or cuda.
        bfloat16: faster where the processor has it.
        threads: of the processor; 0 for all.
    """
    import torch

    from ctrlg.distillation.progress import token_bar
    from ctrlg.files.outputs import check_input_file, check_output_file
    from ctrlg.loading.language_models import load_language_model, load_tokenizer
    from normtweaking import calibration_from_text, generate_calibration
    from normtweaking.texts.languages import language_names

    settings = replace(settings, languages=language_names(languages))
    check_output_file(output)
    if threads:
        torch.set_num_threads(threads)
    if text:
        check_input_file(text, "--text")
        data = calibration_from_text(load_tokenizer(model), text, settings.samples, settings.length, settings.seed)
        data.save(output)
        return
    loaded, tokenizer = load_language_model(model, device, torch.bfloat16 if bfloat16 else torch.float32)
    with token_bar() as show:
        generate_calibration(loaded, tokenizer, settings, output, show)


PROGRAM = Program(main, "generate_data.py", __doc__)

if __name__ == "__main__":
    PROGRAM.main()
