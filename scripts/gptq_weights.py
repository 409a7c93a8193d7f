"""Round a language model's weights by GPTQ (arXiv 2210.17323), for `tweak_model.py --quantizer file`.

    python scripts/gptq_weights.py --data runs/calibration.safetensors --nbits 4 --output runs/gptq.safetensors
    python scripts/gptq_weights.py --data runs/calibration.safetensors --nbits 3 --group-size 64 --symmetric \\
        --output runs/gptq.safetensors
    python scripts/tweak_model.py --quantizer file --weights runs/gptq.safetensors \\
        --data runs/calibration.safetensors --output runs/tweaked

The linear layers of the decoder are rounded and written as floats, under the model's names for them; embeddings and
head are not. Needs llm-compressor, in an environment of its own (docs/norm_tweaking.md).
"""

from __future__ import annotations

import argparse

import torch

from ctrlg.files.outputs import check_output_file
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.console import as_program
from ctrlg.terminal.flags import PlainArgumentParser
from normtweaking import CalibrationData, RoundToNearest
from normtweaking.rounding.gptq import require_llmcompressor, write_gptq_weights


def main() -> None:
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    require_llmcompressor()
    check_output_file(arguments.output)
    scheme = RoundToNearest(arguments.nbits, arguments.group_size, arguments.symmetric)
    data = CalibrationData.load(arguments.data)
    model, _ = load_language_model(arguments.model_name_or_path, arguments.device, torch.float32)
    write_gptq_weights(model, data, scheme, arguments.output, arguments.batch_size)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--model_name_or_path", default="default-base", help="(default-base)")
    parser.add_argument("--data", required=True, help="calibration of generate_data.py")
    parser.add_argument("--output", required=True, help="safetensors file of the rounded weights")
    parser.add_argument("--nbits", type=int, default=4, help="2 to 8 (4)")
    parser.add_argument("--group-size", type=int, help="inputs that share a step (whole channels)")
    parser.add_argument("--symmetric", action="store_true", help="levels symmetric around zero")
    parser.add_argument("--batch-size", type=int, default=8, help="texts at once (8)")
    parser.add_device()
    parser.add_argument("--threads", type=int, default=0, help="(all)")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
