"""Adapt a language model to a file of sentences, before an HMM is distilled from it.

    python distillation/finetune_lm.py --data train.jsonl --output runs/adapter --plot runs/adapter/loss.png
    python distillation/finetune_lm.py --model gpt2 --data sentences.txt --merge --output runs/gpt2
    python distillation/finetune_lm.py --model gpt2 --data table.csv --column text --full \\
        --device cuda --output runs/gpt2-full

LoRA (arXiv 2106.09685) by default, all weights with --full. The weights with the least held-out loss are left in
OUTPUT/adapter (peft format), OUTPUT/merged (--merge) or OUTPUT/model (--full); the last two are model folders, to be
named in sample_data.py. The same command goes on with an interrupted run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ctrlg.adaptation.settings import ALL_LINEAR, AdaptationSettings
from ctrlg.arguments import AboveZero, Natural, Positive, checked
from ctrlg.errors import ArgumentError
from ctrlg.terminal.console import LineConsole, new_console
from ctrlg.terminal.program import Program

if TYPE_CHECKING:
    from ctrlg.adaptation.training import AdaptationResult, AdaptationStep

MERGED = "merged"  # folder in the output
FULL_LEARNING_RATE = 2e-5


@checked
def main(
    data: Path,
    output: Path,
    settings: AdaptationSettings,
    model: str = "default-base",
    column: str = "references",
    eos_token: str = "",
    max_tokens: Positive = 64,
    held_out: Natural = 1000,
    initial_adapter: Path | None = None,
    rank: Positive | None = None,
    alpha: AboveZero | None = None,
    target_modules: tuple[str, ...] = (),
    learning_rate: AboveZero | None = None,
    merge: bool = False,
    plot: Path | None = None,
    device: str | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
) -> None:
    """Adapt a language model.

    Args:
        data: .txt, .jsonl, .json or .csv of sentences.
        output: folder.
        model: Hugging Face id, folder or .gguf file.
        column: of sentences in .jsonl, .json, .csv.
        eos_token: stands before and after every sentence; where empty <|endoftext|>.
        max_tokens: longer sentences are cut.
        held_out: sentences that choose the weights.
        initial_adapter: folder of an adapter to go on from.
        rank: of a new adapter; 6 where None.
        alpha: scale of a new adapter; 2 * rank where None.
        target_modules: layers of a new adapter; all linear ones where empty.
        learning_rate: at its peak; where None 1e-3, with --full 2e-5.
        merge: also write base and adapter as one model: OUTPUT/merged.
        plot: the losses, as .png, .svg or .pdf.
        device: cpu or cuda; where None cuda if there is one.
        dtype: to compute in; where None bfloat16 if it is native.
    """
    import torch

    from ctrlg.adaptation.adapters import merge_adapter
    from ctrlg.adaptation.figure import plot_adaptation
    from ctrlg.adaptation.log import LOG_FILE, read_log
    from ctrlg.adaptation.sentences import encode_sentences, end_of_text_id, read_sentences, split_groups
    from ctrlg.adaptation.training import ADAPTER, MODEL, adapt
    from ctrlg.devices import default_device, fast_dtype
    from ctrlg.figures import check_figure_path
    from ctrlg.files.atomic import writable_folder
    from ctrlg.files.folders import MODEL_FOLDER, check_folder
    from ctrlg.loading.language_models import load_language_model

    shape = {"rank": rank, "alpha": alpha, "target_modules": target_modules}
    given = {name: value for name, value in shape.items() if value not in (None, ())}
    settings = shaped(settings, given, learning_rate, merge, initial_adapter)
    output = writable_folder(output)
    if merge:
        check_folder(output / MERGED, MODEL_FOLDER, [model, data])
    if plot:
        check_figure_path(plot)
    training, judging = split_groups(read_sentences(data, column), held_out)
    place = device or default_device()
    # Short rows: on processors plain products are faster than the fused attention, on GPUs they are not.
    fused = {} if torch.device(place).type != "cpu" else {"attn_implementation": "eager"}
    precision = getattr(torch, dtype) if dtype else fast_dtype(place)
    loaded, tokenizer = load_language_model(model, place, precision, **fused)
    eos_token_id = end_of_text_id(tokenizer, eos_token)
    console = new_console()
    with Reporter(console) as reporter:
        result = adapt(
            loaded,
            encode_sentences(tokenizer, training, eos_token_id, max_tokens),
            encode_sentences(tokenizer, judging, eos_token_id, max_tokens),
            output,
            settings,
            tokenizer,
            initial_adapter,
            reporter,
        )
    if merge:
        merge_adapter(model, output / ADAPTER, output / MERGED, eos_token_id)
    if plot:
        plot_adaptation(read_log(output / LOG_FILE), plot)
    kept = MODEL if settings.full else MERGED if merge else ADAPTER
    console.print(conclusion(result), f"; kept in {output / kept}", sep="", soft_wrap=True)


def shaped(
    settings: AdaptationSettings,
    shape: dict[str, Any],
    learning_rate: float | None,
    merge: bool,
    initial_adapter: Path | None,
) -> AdaptationSettings:
    """The settings with the shape of a new adapter. Raises ArgumentError for options that have no meaning together."""
    other = "--full" if settings.full else "--initial_adapter" if initial_adapter else ""
    if other and shape:
        raise ArgumentError(
            f"--{', --'.join(shape)} beside {other}", hint="they shape a new adapter only; leave one of both out"
        )
    if settings.full and (merge or initial_adapter):
        option = "--merge" if merge else "--initial_adapter"
        raise ArgumentError(
            f"{option} beside --full", hint="--full trains and writes a whole model, without an adapter"
        )
    if shape.get("target_modules") == (ALL_LINEAR,):
        del shape["target_modules"]
    if learning_rate is None:
        learning_rate = FULL_LEARNING_RATE if settings.full else settings.learning_rate
    return replace(settings, **shape, learning_rate=learning_rate)


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


PROGRAM = Program(main, "finetune_lm.py", __doc__)

if __name__ == "__main__":
    PROGRAM.main()
