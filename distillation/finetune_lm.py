"""Adapt a language model to a file of sentences, before an HMM is distilled from it.

    python distillation/finetune_lm.py --data_file train.jsonl --output runs/adapter --plot runs/adapter/loss.png
    python distillation/finetune_lm.py --model_name_or_path gpt2 --data_file sentences.txt --merge --output runs/gpt2
    python distillation/finetune_lm.py --model_name_or_path gpt2 --data_file table.csv --column text --full \\
        --device cuda --output runs/gpt2-full

LoRA (arXiv 2106.09685) by default, all weights with --full. The weights with the least held-out loss are left in
OUTPUT/adapter (peft format), OUTPUT/merged (--merge) or OUTPUT/model (--full); the last two are model folders, to be
named in sample_data.py. The same command goes on with an interrupted run.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from ctrlg.adaptation.adapters import ALL_LINEAR, merge_adapter
from ctrlg.adaptation.figure import draw_adaptation
from ctrlg.adaptation.log import LOG_FILE, read_log
from ctrlg.adaptation.sentences import encode_sentences, end_of_text_id, read_sentences, split_groups
from ctrlg.adaptation.training import (
    ADAPTER,
    MODEL,
    AdaptationResult,
    AdaptationSettings,
    AdaptationStep,
    adapt,
)
from ctrlg.devices import fast_dtype
from ctrlg.errors import ArgumentError
from ctrlg.figures import check_figure_path
from ctrlg.files.atomic import writable_folder
from ctrlg.files.folders import MODEL_FOLDER, check_folder
from ctrlg.loading.language_models import DEFAULT_BASE, load_language_model
from ctrlg.terminal.console import LineConsole, as_program, new_console
from ctrlg.terminal.flags import PlainArgumentParser

MERGED = "merged"  # folder in the output
FULL_LEARNING_RATE = 2e-5
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    arguments = parse_arguments()
    settings = settings_of(arguments)
    output = writable_folder(arguments.output)
    if arguments.merge:
        check_folder(output / MERGED, MODEL_FOLDER, [arguments.model_name_or_path, arguments.data_file])
    if arguments.plot:
        check_figure_path(arguments.plot)
    groups = read_sentences(arguments.data_file, arguments.column)
    training, held_out = split_groups(groups, arguments.held_out)
    dtype = DTYPES[arguments.dtype] if arguments.dtype else fast_dtype(arguments.device)
    # Short rows: on processors plain products are faster than the fused attention, on GPUs they are not.
    fused = {} if torch.device(arguments.device).type != "cpu" else {"attn_implementation": "eager"}
    model, tokenizer = load_language_model(arguments.model_name_or_path, arguments.device, dtype, **fused)
    eos_token_id = end_of_text_id(tokenizer, arguments.eos_token)
    console = new_console()
    with Reporter(console) as reporter:
        result = adapt(
            model,
            encode_sentences(tokenizer, training, eos_token_id, arguments.max_tokens),
            encode_sentences(tokenizer, held_out, eos_token_id, arguments.max_tokens),
            output,
            settings,
            tokenizer,
            arguments.initial_adapter,
            reporter,
        )
    if arguments.merge:
        merge_adapter(arguments.model_name_or_path, output / ADAPTER, output / MERGED, eos_token_id)
    if arguments.plot:
        draw_adaptation(read_log(output / LOG_FILE), arguments.plot)
    kept = MODEL if settings.full else MERGED if arguments.merge else ADAPTER
    console.print(conclusion(result), f"; kept in {output / kept}", sep="", soft_wrap=True)


class Reporter:
    """Shows steps as a bar, where the console has bars, and evaluations as lines. Used as a context."""

    def __init__(self, console: Any) -> None:
        self.console, self.progress = console, None
        if not isinstance(console, LineConsole):
            self.progress = self._bar()
            self.task = self.progress.add_task("adapting", total=None, rate=0.0)

    def _bar(self) -> Any:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        return Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[rate]:.0f} tokens/s"),
            TimeRemainingColumn(),
            console=self.console,
        )

    def __enter__(self) -> Reporter:
        if self.progress is not None:
            self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.progress is not None:
            self.progress.stop()

    def __call__(self, step: AdaptationStep) -> None:
        if self.progress is not None:
            self.progress.update(self.task, completed=step.step, total=step.steps, rate=step.tokens_per_second)
        if step.held_out_loss is not None:
            training = "" if step.training_loss is None else f", training {step.training_loss:.4f}"
            self.console.print(
                f"step {step.step:,} of {step.steps:,}: held-out loss {step.held_out_loss:.4f}{training} nats per token"
            )


def conclusion(result: AdaptationResult) -> str:
    stopped = ", stopped early" if result.steps < result.planned_steps else ""
    return (
        f"held-out loss {result.loss_before:.3f} -> {result.best_loss:.3f} nats per token "
        f"(step {result.best_step:,} of {result.steps:,}{stopped})"
    )


def settings_of(arguments: argparse.Namespace) -> AdaptationSettings:
    """Raises ArgumentError for flags that have no meaning together."""
    lora = {
        name: getattr(arguments, name)
        for name in ("rank", "alpha", "target_modules")
        if getattr(arguments, name) is not None
    }
    other = "--full" if arguments.full else "--initial_adapter" if arguments.initial_adapter else ""
    if other and lora:
        raise ArgumentError(
            f"--{', --'.join(lora)} beside {other}", hint="they shape a new adapter only; leave one of both out"
        )
    if arguments.full and (arguments.merge or arguments.initial_adapter):
        flag = "--merge" if arguments.merge else "--initial_adapter"
        raise ArgumentError(f"{flag} beside --full", hint="--full trains and writes a whole model, without an adapter")
    if "target_modules" in lora:
        names = tuple(lora["target_modules"])
        lora["target_modules"] = ALL_LINEAR if names == (ALL_LINEAR,) else names
    learning_rate = FULL_LEARNING_RATE if arguments.full else AdaptationSettings().learning_rate
    return AdaptationSettings(
        **lora,
        full=arguments.full,
        learning_rate=learning_rate if arguments.learning_rate is None else arguments.learning_rate,
        warmup=arguments.warmup,
        batch_size=arguments.batch_size,
        epochs=arguments.epochs,
        evaluate_every=arguments.evaluate_every,
        patience=arguments.patience,
        save_every=arguments.save_every,
        seconds=arguments.seconds,
        seed=arguments.seed,
    )


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    defaults = AdaptationSettings()
    parser.add_argument("--model_name_or_path", default=DEFAULT_BASE, help="Hugging Face id, folder or .gguf file")
    parser.add_argument("--data_file", type=Path, required=True, help=".txt, .jsonl, .json or .csv of sentences")
    parser.add_argument("--column", default="references", help="of sentences in .jsonl, .json, .csv (%(default)s)")
    parser.add_argument("--eos_token", default="", help="stands before and after every sentence (<|endoftext|>)")
    parser.add_argument("--max_tokens", type=int, default=64, help="longer sentences are cut (%(default)s)")
    parser.add_argument("--held_out", type=int, default=1000, help="sentences that choose the weights (%(default)s)")
    parser.add_argument("--full", action="store_true", help="train all weights (for GPUs)")
    parser.add_argument("--initial_adapter", type=Path, default=None, help="folder of an adapter to go on from")
    parser.add_argument("--rank", type=int, default=None, help=f"of a new adapter ({defaults.rank})")
    parser.add_argument("--alpha", type=float, default=None, help="scale of a new adapter (2 * rank)")
    parser.add_argument("--target_modules", nargs="+", default=None, help=f"layers ({ALL_LINEAR})")
    parser.add_argument(
        "--learning_rate",
        type=float,
        default=None,
        help=f"peak ({defaults.learning_rate}, with --full {FULL_LEARNING_RATE})",
    )
    parser.add_argument("--warmup", type=int, default=defaults.warmup, help="steps (%(default)s)")
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="sentences (%(default)s)")
    parser.add_argument("--epochs", type=float, default=defaults.epochs, help="(%(default)s)")
    parser.add_argument("--evaluate_every", type=int, default=defaults.evaluate_every, help="steps (%(default)s)")
    parser.add_argument("--patience", type=int, default=0, help="stop after so many evaluations without a better one")
    parser.add_argument("--save_every", type=int, default=0, help="steps between saves besides those at evaluations")
    parser.add_argument("--seconds", type=float, default=None, help="of training; the learning rate is zero by then")
    parser.add_argument("--merge", action="store_true", help="also write base and adapter as one model: OUTPUT/merged")
    parser.add_argument("--plot", type=Path, default=None, help="draw the losses into this .png, .svg or .pdf")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default=None, help="to compute in (bfloat16 where native)")
    parser.add_argument("--output", type=Path, required=True, help="folder")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
