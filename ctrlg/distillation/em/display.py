"""What a training run shows while it runs: a table and a bar on a terminal, or a line per step in a log file."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from ctrlg.distillation.em.log import TrainingRecord


class TrainingDisplay:
    """Shows records as they come; use as a context manager.

    Args:
        console: of rich, or a `LineConsole`.
        total_steps: of the run.
        done: before this start.
    """

    def __init__(self, console: Any, total_steps: int, done: int) -> None:
        self._console = console
        self._table = None
        if console.is_terminal:
            from ctrlg.distillation.em.table import TrainingTable

            self._table = TrainingTable(console, total_steps, done, _cells)

    def __enter__(self) -> TrainingDisplay:
        if self._table is not None:
            self._table.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._table is not None:
            self._table.stop()

    def begin_step(self, sequences: int) -> None:
        """A step over so many sequences begins."""
        if self._table is not None:
            self._table.begin_step(sequences)

    def advance(self, sequences: int) -> None:
        """So many more sequences of the step are done."""
        if self._table is not None:
            self._table.advance(sequences)

    def add(self, record: TrainingRecord) -> None:
        """A step is done."""
        if self._table is not None:
            self._table.add(record)
        else:
            self._console.print(_line(record), soft_wrap=True)


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
