"""The flags of scripts and studies: what `argparse` makes of them, and what it refuses."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any, NoReturn

from ctrlg.arguments import LARGEST_SEED, shown
from ctrlg.arguments import text as whole_text
from ctrlg.errors import ArgumentError
from ctrlg.terminal.spellings import spelled
from ctrlg.terminal.text import visible


class PlainArgumentParser(argparse.ArgumentParser):
    """A parser of a script's flags: `--help` shows its docstring as it is, and errors show control characters."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        # What `type=int` and `type=float` mean here: no script takes a number below 0, NaN or one beyond memory.
        self.register("type", int, _natural)
        self.register("type", float, _finite)
        self.register("type", None, _text)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's; flags may be spelled as in `ctrlg.terminal.spellings`, with dashes or underscores."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([self._respelled(word) for word in words], namespace)

    def _respelled(self, word: str) -> str:
        flag, equals, value = word.partition("=")
        if not flag.startswith("--") or flag in self._option_string_actions:
            return word
        known = {_plain(option): option for option in self._option_string_actions}
        found = known.get(_plain(flag)) or known.get(spelled(_plain(flag)))
        return word if found is None else f"{found}{equals}{value}"

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
        from ctrlg.devices import checked_device

        setattr(namespace, self.dest, str(checked_device(values)))


def _plain(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")


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
