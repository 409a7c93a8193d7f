"""Let a language model write the texts that `tweak_model.py` calibrates on (the norm-tweaking repository's command).

    python examples/generate_data.py --model gpt2 --save_dir data/ --device cpu
    python examples/generate_data.py --model default --num_samples 32 --token_length 256
    python examples/generate_data.py --model gpt2 --num_samples 3 --print

A job that was interrupted goes on where it was, and ends with the same file.
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ctrlg.terminal.console import as_program
from normtweaking import DataGenerator


def main() -> None:
    arguments = parse_arguments()
    generator = DataGenerator.from_pretrained(arguments.model)
    if arguments.device:
        generator.to(arguments.device)
    columns = (TextColumn("tokens"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    wanted = (arguments.num_samples, arguments.token_length, arguments.seed)
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("")

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if not arguments.print:
            path = generator.generate_into(arguments.save_dir, *wanted, progress=show)
            print(f"saved: {path}")
            return
        data = generator.generate(*wanted, progress=show)
    for tokens in data.tensors:
        for text in generator.tokenizer.batch_decode(tokens):
            print(text)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="Hugging Face id, folder, .gguf file, default or default-base")
    parser.add_argument("--save_dir", default="data", help="folder of the file (data)")
    parser.add_argument("--num_samples", type=int, default=128, help="(128)")
    parser.add_argument("--token_length", type=int, help="tokens of a sample (what the model can read, 2048 at most)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cpu or cuda (cuda where there is one)")
    parser.add_argument("--print", action="store_true", help="print the texts and save nothing")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
