"""What a training run shows while it runs: a table of its last steps and a bar, or a line per step in a log file."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ctrlg.distillation.training_log import TrainingRecord

ROWS = 12  # steps shown at a time


class TrainingDisplay:
    """Shows records as they come; use as a context manager. total_steps: of the run; done: before this start."""

    def __init__(self, console: Console, total_steps: int, done: int) -> None:
        self._console = console
        self._records: deque[TrainingRecord] = deque(maxlen=ROWS)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._steps = self._progress.add_task("EM steps", total=total_steps, completed=done)
        self._sequences = self._progress.add_task("sequences", total=None, visible=False)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4)

    def __enter__(self) -> TrainingDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._progress.update(self._sequences, visible=False)
            self._live.stop()

    def begin_step(self, sequences: int) -> None:
        """A step over so many sequences begins."""
        self._progress.reset(self._sequences, total=sequences, visible=True)

    def advance(self, sequences: int) -> None:
        """So many more sequences of the step are done."""
        self._progress.advance(self._sequences, sequences)

    def add(self, record: TrainingRecord) -> None:
        """A step is done."""
        self._records.append(record)
        self._progress.update(self._steps, completed=record.step)
        if not self._console.is_terminal:
            self._console.print(_line(record), soft_wrap=True)

    def _render(self) -> Group:
        table = Table(title="mean log-likelihood, nats")
        for name in ("step", "chunks", "train/token", "dev/token", "dev/sequence", "tokens/s", ""):
            table.add_column(name, justify="right", no_wrap=True)
        for record in self._records:
            table.add_row(*_cells(record))
        return Group(table, self._progress)


def _cells(record: TrainingRecord) -> tuple[str, ...]:
    marks = [f"{record.bits} bits"] if record.quantised else []
    marks += ["best"] if record.best else []
    return (
        str(record.step),
        str(record.checkpoint),
        "" if record.train_per_token is None else f"{record.train_per_token:.4f}",
        f"{record.dev_per_token:.4f}",
        f"{record.dev_per_sequence:.2f}",
        "" if record.tokens_per_second is None else f"{record.tokens_per_second:,.0f}",
        ", ".join(marks),
    )


def _line(record: TrainingRecord) -> str:
    step, checkpoint, train, dev, sequence, speed, marks = _cells(record)
    shown = [f"dev {dev} per token, {sequence} per sequence"]
    if train:
        shown.insert(0, f"train {train} per token")
    if speed:
        shown.append(f"{speed} tokens/s")
    return f"step {step}, checkpoint {checkpoint}: {', '.join(shown)}{f' ({marks})' if marks else ''}"
