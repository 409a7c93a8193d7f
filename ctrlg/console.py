"""How a program of this project behaves on a terminal."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.markup import escape

from ctrlg.disk import disk_failure
from ctrlg.errors import CtrlGError


@contextmanager
def as_program() -> Iterator[None]:
    """Keep libraries quiet while the block runs, and end the program with exit code 2, a message and its hint, not a
    traceback, where the block raises an error of this library, or a disk is full that it writes to."""
    _quiet_libraries()
    try:
        try:
            yield
        finally:  # what is still to be printed may meet a full disk, too
            sys.stdout.flush()
    except CtrlGError as error:
        _fail(error.message, error.hint)
    except Exception as error:
        reason = disk_failure(error)
        if reason is None:
            raise
        place = getattr(error, "filename", None) or "a temporary file or the standard output"
        _fail(f"cannot write {place}: {reason}", "make room, and give the same command again")


def _fail(message: str, hint: str) -> None:
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"[bold red]error:[/bold red] {escape(message)}")
    if hint:
        console.print(f"[dim]hint: {escape(hint)}[/dim]")
    with suppress(Exception):  # Python would try again at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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
