"""The bar of a drawing job: sequences, tokens a second, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ctrlg.distillation.drawing import DrawingProgress


@contextmanager
def drawing_bar(shown: bool = True, console: Console | None = None) -> Iterator[Callable[[DrawingProgress], None]]:
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
        task = bar.add_task("sampling", total=None, rate="")

        def show(state: DrawingProgress) -> None:
            rate = state.tokens / max(time.monotonic() - started, 1e-9)
            text = f"{rate:,.0f} tokens/s" if state.tokens else ""
            bar.update(task, completed=int(state.sequences), total=state.total, rate=text)

        yield show
