"""What a training run shows on a terminal while it runs: a table of its last steps and a bar."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ctrlg.distillation.em.log import TrainingRecord

ROWS = 12  # steps shown at a time


class TrainingTable:
    """Shows records as they come, from `start` to `stop`.

    Args:
        console: of rich, or a `LineConsole`.
        total_steps: of the run.
        done: before this start.
        cells: a record's, for the columns of the table.
    """

    def __init__(
        self, console: Console, total_steps: int, done: int, cells: Callable[[TrainingRecord], tuple[str, ...]]
    ) -> None:
        self._cells = cells
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

    def start(self) -> None:
        """Begin to show it."""
        self._live.start()

    def stop(self) -> None:
        """Leave the last state on the terminal."""
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

    def _render(self) -> Group:
        table = Table(title="mean log-likelihood, nats")
        for name in ("step", "chunks", "train/token", "dev/token", "dev/sequence", "tokens/s", ""):
            table.add_column(name, justify="right", no_wrap=True)
        for record in self._records:
            table.add_row(*self._cells(record))
        return Group(table, self._progress)
