"""The console of our programs where rich is installed, for text that is not all ours; see `ctrlg.terminal.console`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.text import Text

from ctrlg.terminal.text import visible


class PlainConsole(Console):
    """A console for text that is not ours: brackets are no markup, and control characters are shown, not sent.

    Our own styles come as `rich.text.Text`. options: of `rich.console.Console`.
    """

    def __init__(self, **options: Any) -> None:
        chosen: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False} | options
        super().__init__(**chosen)

    def status(self, status: RenderableType, **options: Any) -> Status:
        """As rich's, which takes a string for markup whatever the console says."""
        return super().status(Text(status) if isinstance(status, str) else status, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What rich calls for everything that it prints, bars and cells of tables too."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))
