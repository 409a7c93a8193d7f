"""Quantise a language model and tweak its norms (the norm-tweaking repository's command).

    python examples/tweak_model.py --model gpt2 --data data/normtweaking_calibration_data_gpt2_....safetensors
    python examples/tweak_model.py --model gpt2 --data data/... --quantizer k-means --nbits 4 --save_dir models
    python examples/tweak_model.py --model gpt2 --data data/... --grid-search-lr 0 1e-4 1e-5 1e-6 \\
        --grid-search-scale 0.5 1 5 10 --perplexity-text wiki.test.raw

The model is saved below --save_dir. Of a grid the best is kept: by the perplexity of a text where one is given, else
by the divergence from the float model on samples that are held out. docs/norm_tweaking.md says what differs from the
original; `scripts/tweak_model.py` has more ways to tweak.
"""

from __future__ import annotations

import argparse

from rich.console import Console

from ctrlg.terminal.console import as_program
from normtweaking.compat.tweaking import QUANTIZERS, quantizer_of, tweak_into
from normtweaking.grid import Grid
from normtweaking.measured import Measured


def main() -> None:
    arguments = parse_arguments()
    console = Console(highlight=False, soft_wrap=True)
    quantizer = quantizer_of(
        arguments.quantizer, arguments.nbits, arguments.group_size, arguments.precomputed_tensors_path
    )
    console.print(f"quantizer: {quantizer.metadata()}", markup=False)
    folder = tweak_into(
        arguments.save_dir,
        arguments.model,
        arguments.data,
        quantizer,
        Grid(arguments.grid_search_lr, arguments.grid_search_scale),
        Measured(arguments.perplexity_text, arguments.tokens),
        arguments.device or "cpu",
        lambda line: console.print(line, markup=False),
    )
    console.print(f"saved: {folder}", markup=False)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="Hugging Face id, folder, .gguf file, default or default-base")
    parser.add_argument("--data", required=True, help="file of generate_data.py")
    parser.add_argument("--save_dir", default="models", help="folder of the tweaked model's folder (models)")
    parser.add_argument("--device", help="cpu or cuda (cpu)")
    parser.add_argument("--quantizer", default="linear", help=f"{', '.join(QUANTIZERS)} (linear)")
    parser.add_argument("--nbits", type=int, default=6, help="(6)")
    parser.add_argument(
        "--group-size", type=int, help="output channels that share levels (linear: 1, k-means: all of a matrix)"
    )
    parser.add_argument("--precomputed-tensors-path", help="safetensors of quantised weights, for precomputed")
    parser.add_argument("--grid-search-lr", type=float, nargs="*", default=[], help="learning rates; 0 is no tweaking")
    parser.add_argument("--grid-search-scale", type=float, nargs="*", default=[], help="scales to try")
    parser.add_argument("--perplexity-text", default="", help="text whose perplexity chooses the point of the grid")
    parser.add_argument("--tokens", type=int, help="of that text, from its beginning (all)")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
