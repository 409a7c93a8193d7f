"""How the library's errors look on a terminal: message, hint, exit code 2, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from ctrlg.errors import CtrlGError


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """End the program with exit code 2 and a message where the block raises an error of this library."""
    try:
        yield
    except CtrlGError as error:
        console = Console(stderr=True, soft_wrap=True)
        console.print(f"[bold red]error:[/bold red] {escape(error.message)}")
        if error.hint:
            console.print(f"[dim]hint: {escape(error.hint)}[/dim]")
        sys.exit(2)
