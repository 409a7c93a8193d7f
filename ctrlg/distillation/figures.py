"""Saving figures so that they can be made again: the command that drew them is in the file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from ctrlg.errors import ArgumentError
from ctrlg.files import atomic_file

_COMMAND_FIELD = {".png": "Description", ".svg": "Description", ".pdf": "Subject"}


def check_figure_path(path: str | Path) -> None:
    """Raises ArgumentError for a name that does not end in .png, .svg or .pdf."""
    if Path(path).suffix.lower() not in _COMMAND_FIELD:
        raise ArgumentError(f"cannot draw {path}", hint=f"end its name in {', '.join(_COMMAND_FIELD)}")


def save_figure(figure: Any, path: str | Path) -> None:
    """Write a matplotlib figure atomically, with the command line of this process in its metadata."""
    check_figure_path(path)
    suffix = Path(path).suffix.lower()
    with atomic_file(path) as temporary:
        figure.savefig(
            temporary, format=suffix[1:], dpi=150, metadata={_COMMAND_FIELD[suffix]: shlex.join(["python", *sys.argv])}
        )
