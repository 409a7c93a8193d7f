"""Texts to calibrate Norm Tweaking on: written by the language model itself, or cut out of a file.

    python scripts/generate_data.py --model_name_or_path default-base --samples 128 --length 2048 \\
        --languages en,fr --output runs/calibration.safetensors
    python scripts/generate_data.py --samples 32 --length 512 --seed 1 --output runs/small.safetensors
    python scripts/generate_data.py --text train.txt --samples 64 --length 1024 --output runs/text.safetensors

A text begins with a token drawn from the vocabulary (of the languages given), goes on with the likeliest tokens, then
with drawn ones (LLM-QAT). A job that was interrupted goes on with the next batch and ends with the same data.
"""

from __future__ import annotations

import argparse

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ctrlg.files.outputs import check_input_file, check_output_file
from ctrlg.loading.language_models import load_language_model, load_tokenizer
from ctrlg.terminal.console import as_program
from ctrlg.terminal.flags import PlainArgumentParser
from normtweaking import CalibrationSettings, calibration_from_text, generate_calibration
from normtweaking.texts.languages import language_names


def main() -> None:
    arguments = parse_arguments()
    settings = CalibrationSettings(
        arguments.samples,
        arguments.length,
        language_names(arguments.languages),
        arguments.greedy_tokens,
        arguments.temperature,
        arguments.batch_size,
        arguments.seed,
    )
    check_output_file(arguments.output)
    if arguments.text:
        check_input_file(arguments.text, "--text")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.text:
        tokenizer = load_tokenizer(arguments.model_name_or_path)
        data = calibration_from_text(tokenizer, arguments.text, settings.samples, settings.length, settings.seed)
        data.save(arguments.output)
        return
    dtype = torch.bfloat16 if arguments.bfloat16 else torch.float32
    model, tokenizer = load_language_model(arguments.model_name_or_path, arguments.device, dtype)
    columns = (TextColumn("tokens"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("", total=settings.samples * settings.length)
        generate_calibration(
            model, tokenizer, settings, arguments.output, lambda done, _: progress.update(task, completed=done)
        )


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--model_name_or_path", default="default-base", help="(default-base)")
    parser.add_argument("--output", required=True, help="safetensors file")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--length", type=int, default=2048, help="tokens of a sample")
    parser.add_argument("--languages", default="", help="of first tokens, such as en,zh (all)")
    parser.add_argument("--text", default="", help="cut the samples out of this file instead")
    parser.add_argument("--greedy_tokens", type=int, default=4, help="likeliest tokens after a first one")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--batch_size", type=int, default=8, help="samples at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_device()
    parser.add_argument("--bfloat16", action="store_true", help="faster where the processor has it")
    parser.add_argument("--threads", type=int, default=0, help="(all)")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
