"""Progress of long jobs on a terminal: a drawing job's bar with tokens a second, and a bar for each stage of others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ctrlg.distillation.drawing import DrawingProgress


@contextmanager
def drawing_bar(
    shown: bool = True, console: Console | None = None, title: str = "sampling"
) -> Iterator[Callable[[DrawingProgress], None]]:
    """What to give `draw_chunks` as `progress`. shown: False in all processes but one."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not shown,
    )
    started = time.monotonic()
    with bar:
        task = bar.add_task(title, total=None, rate="")

        def show(state: DrawingProgress) -> None:
            rate = state.tokens / max(time.monotonic() - started, 1e-9)
            text = f"{rate:,.0f} tokens/s" if state.tokens else ""
            bar.update(task, completed=int(state.sequences), total=state.total, rate=text)

        yield show


class StageBars:
    """Shows each stage of a job as a bar of its own: call it with the stage's name, how much is done, and of how much.

    Used as a context.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(console=console)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> StageBars:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done)
