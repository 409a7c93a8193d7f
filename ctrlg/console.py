"""How a program of this project behaves on a terminal.

Prompts, keywords, paths, tokens and the messages of other libraries are not ours, and may hold escape sequences or what
`rich` takes for markup. Everything is therefore printed through a `PlainConsole` (`ctrlg.terminal`), or through `say`,
which both show control characters instead of sending them. Only what shows tables, bars and colours imports rich.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, NoReturn, TextIO

from ctrlg.arguments import LARGEST_SEED, shown
from ctrlg.arguments import text as whole_text
from ctrlg.disk import disk_failure
from ctrlg.errors import ArgumentError, CtrlGError

_KEPT = "\n\t"
_TURNING = frozenset(map(chr, (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))
"""Characters that turn the direction of writing, so that a text can look like another one."""
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, lone surrogates, line and paragraph separators


def visible(text: str) -> str:
    """A text whose control characters are written as Python writes them ("\\x1b"); line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(ascii(mark)[1:-1] if _is_unseen(mark) else mark for mark in text)


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
    from ctrlg.terminal import PlainConsole

    return PlainConsole(quiet=quiet)


class PlainArgumentParser(argparse.ArgumentParser):
    """A parser of a script's flags: `--help` shows its docstring as it is, and errors show control characters."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        # What `type=int` and `type=float` mean here: no script takes a number below 0, NaN or one beyond memory.
        self.register("type", int, _natural)
        self.register("type", float, _finite)
        self.register("type", None, _text)

    def add_device(self) -> None:
        """The flag `--device`, see `add_device_flag`."""
        add_device_flag(self)

    def error(self, message: str) -> NoReturn:
        """End the program with exit code 2 and a message."""
        super().error(visible(message))


def add_device_flag(parser: argparse.ArgumentParser) -> None:
    """Give a program the flag `--device`, "cpu" where it is not given; one that cannot be used is refused at once."""
    parser.add_argument("--device", action=_UsableDevice, default="cpu", help="of all models: cpu, cuda (%(default)s)")


class _UsableDevice(argparse.Action):
    """Keeps the name of a device. Raises ArgumentError as `checked_device`; a `type=` would lose its hint."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        from ctrlg.models import checked_device

        setattr(namespace, self.dest, str(checked_device(values)))


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


def _fail(message: str, hint: str) -> NoReturn:
    show_error(message, hint)
    with suppress(Exception):  # Python would try again at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(2)


def show_error(message: str, hint: str = "") -> None:
    """Print an error, and what would be right, to the standard error."""
    try:
        from rich.text import Text

        from ctrlg.terminal import PlainConsole
    except ImportError:
        say(f"error: {message}" + (f"\nhint: {hint}" if hint else ""), sys.stderr)
        return
    console = PlainConsole(stderr=True, soft_wrap=True)
    console.print(Text.assemble(("error:", "bold red"), " ", message))
    if hint:
        console.print(Text(f"hint: {hint}", "dim"))


def visible_token(tokenizer: Any, token: int) -> str:
    """A token's text on one line, its spaces, line breaks and control characters to be seen: "·dog"."""
    return visible(tokenizer.decode([token]).replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥"))


def _natural(given: str) -> int:
    try:
        value = int(given)
    except ValueError:
        value = -1
    if not 0 <= value <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{shown(given)} is no whole number from 0 to {LARGEST_SEED}")
    return value


def _finite(given: str) -> float:
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{shown(given)} is no finite number")
    return value


def _text(given: str) -> str:
    try:
        return whole_text("it", given)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(f"{shown(given)} is not {error.hint}") from None


def _is_unseen(mark: str) -> bool:
    return mark not in _KEPT and (mark in _TURNING or unicodedata.category(mark) in _UNSEEN)


def _quiet_libraries() -> None:
    """What transformers says while it loads a model is not for the readers of a program's output."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
