"""Progress of long jobs on a terminal: a sampling job's bar with tokens a second, and a bar for each stage of
others."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ctrlg.distillation.sampling.chunks import ChunkProgress
from ctrlg.terminal.console import LineConsole, say

if TYPE_CHECKING:
    from rich.progress import TaskID


@contextmanager
def sampling_bar(
    shown: bool = True, console: Any = None, title: str = "sampling"
) -> Iterator[Callable[[ChunkProgress], None]]:
    """What to give `sample_chunks` as `progress`.

    Args:
        shown: False in all processes but one.
        console: of rich, by default one for the standard output; nothing is shown on a `LineConsole` and where rich is
            not installed.
        title: beside the bar.
    """
    if not _has_bars(console):
        yield lambda state: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

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

        def show(state: ChunkProgress) -> None:
            rate = state.tokens / max(time.monotonic() - started, 1e-9)
            text = f"{rate:,.0f} tokens/s" if state.tokens else ""
            bar.update(task, completed=int(state.sequences), total=state.total, rate=text)

        yield show


@contextmanager
def token_bar(console: Any = None) -> Iterator[Callable[[int, int], None]]:
    """What to call with the tokens sampled and those of the whole job.

    Args:
        console: as for `sampling_bar`.
    """
    if not _has_bars(console):
        yield lambda done, total: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("tokens"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class StageBars:
    """Shows each stage of a job as a bar of its own: call it with the stage's name, how much is done, and of how much.

    Used as a context.

    Args:
        console: as for `sampling_bar`; without bars, a stage is a line where it begins.
    """

    def __init__(self, console: Any = None) -> None:
        self._tasks: dict[str, TaskID | None] = {}
        self._progress = None
        bars: Any = console if _has_bars(console) else None
        self._say = console.print if isinstance(console, LineConsole) else say
        if _has_bars(console):
            from rich.progress import Progress

            self._progress = Progress(console=bars)

    def __enter__(self) -> StageBars:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._progress is None:
            if stage not in self._tasks:
                self._tasks[stage] = None
                self._say(stage)
            return
        task = self._tasks.get(stage)
        if task is None:
            task = self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(task, completed=done)


def _has_bars(console: Any) -> bool:
    return not isinstance(console, LineConsole) and importlib.util.find_spec("rich") is not None
