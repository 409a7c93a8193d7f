"""How a program of this project behaves on a terminal.

Prompts, keywords, paths, tokens and the messages of other libraries are not ours, and may hold escape sequences or what
`rich` takes for markup. Everything is therefore printed through a `PlainConsole` (`ctrlg.terminal.plain_console`), or
through `say`, which both show control characters instead of sending them. Only what shows tables, bars and colours
imports rich.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, NoReturn, TextIO

from ctrlg.errors import CtrlGError
from ctrlg.files.disk import disk_failure
from ctrlg.terminal.text import visible

_in_program = False  # set once a program has begun, until the process ends


def say(text: object = "", file: TextIO | None = None) -> None:
    """Print a text that is not all ours, or ours about it. file: the standard output where None."""
    print(visible(str(text)), file=file, flush=True)


class LineConsole:
    """What stands for a `PlainConsole` where rich is not installed: plain lines, no bars and no styles.

    quiet: print nothing.
    """

    is_terminal = False

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    def print(self, *texts: object, sep: str = " ", **styles: Any) -> None:
        """Print the texts on a line. styles: of rich, without a meaning here."""
        if not self._quiet:
            say(sep.join(map(str, texts)))

    def status(self, status: object) -> AbstractContextManager[None]:
        """What goes on while the block runs is not shown."""
        return nullcontext()


def new_console(quiet: bool = False) -> Any:
    """A `PlainConsole`, or a `LineConsole` where rich is not installed."""
    if importlib.util.find_spec("rich") is None:
        return LineConsole(quiet)
    from ctrlg.terminal.plain_console import PlainConsole

    return PlainConsole(quiet=quiet)


@contextmanager
def as_program() -> Iterator[None]:
    """Keep libraries quiet while the block runs, and end the program with exit code 2, a message and its hint, not a
    traceback, where the block raises an error of this library, or a disk is full that it writes to."""
    global _in_program
    _in_program = True
    if "transformers" in sys.modules:  # else the module that imports it calls
        keep_transformers_quiet()
    try:
        try:
            yield
        finally:  # what is still to be printed may meet a full disk, too
            sys.stdout.flush()
    except CtrlGError as error:
        _fail(error.message, error.hint)
    except BrokenPipeError:  # whoever reads has read enough, as `head`; rich ends with the same code
        _drop_output()
        sys.exit(1)
    except Exception as error:
        reason = disk_failure(error)
        if reason is None:
            raise
        place = getattr(error, "filename", None) or "a temporary file or the standard output"
        _fail(f"cannot write {place}: {reason}", "make room, and give the same command again")


def _fail(message: str, hint: str) -> NoReturn:
    show_error(message, hint)
    _drop_output()
    sys.exit(2)


def _drop_output() -> None:
    """What is still in the buffer of the standard output: Python would try again at its end, and complain."""
    with suppress(Exception):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_error(message: str, hint: str = "") -> None:
    """Print an error, and what would be right, to the standard error."""
    try:
        from rich.text import Text

        from ctrlg.terminal.plain_console import PlainConsole
    except ImportError:
        say(f"error: {message}" + (f"\nhint: {hint}" if hint else ""), sys.stderr)
        return
    console = PlainConsole(stderr=True, soft_wrap=True)
    console.print(Text.assemble(("error:", "bold red"), " ", message))
    if hint:
        console.print(Text(f"hint: {hint}", "dim"))


def keep_transformers_quiet() -> None:
    """Hide what transformers says while it loads a model from the readers of a program's output; called where
    transformers has just been imported. Outside of `as_program` it does nothing."""
    if _in_program:
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
