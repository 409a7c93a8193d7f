"""How a program of this project behaves on a terminal."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape

from ctrlg.errors import CtrlGError


@contextmanager
def as_program() -> Iterator[None]:
    """Keep libraries quiet while the block runs, and end the program with exit code 2, a message and its hint, not a
    traceback, where the block raises an error of this library."""
    _quiet_libraries()
    try:
        yield
    except CtrlGError as error:
        console = Console(stderr=True, soft_wrap=True)
        console.print(f"[bold red]error:[/bold red] {escape(error.message)}")
        if error.hint:
            console.print(f"[dim]hint: {escape(error.hint)}[/dim]")
        sys.exit(2)


def visible_token(tokenizer: Any, token: int) -> str:
    """A token's text on one line, its spaces and line breaks to be seen: "·dog"."""
    return tokenizer.decode([token]).replace(" ", "·").replace("\n", "⏎")


def _quiet_libraries() -> None:
    """What transformers says while it loads a model is not for the readers of a program's output."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
