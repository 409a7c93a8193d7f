"""What all figures share: colours that differ in grey as well, and files that say which command made them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from ctrlg.errors import ArgumentError
from ctrlg.files.atomic import atomic_file
from ctrlg.files.outputs import check_output_file, require_packages
from ctrlg.terminal.text import visible

_COMMAND_FIELD = {".png": "Description", ".svg": "Description", ".pdf": "Subject"}
DARK, MIDDLE, LIGHT = "#1b3a5c", "#c2571a", "#9dc3a2"  # luminance about 20, 45 and 75 %


def check_figure_path(path: str | Path) -> None:
    """Raise ArgumentError for a name that does not end in .png, .svg or .pdf, a file that cannot be written, and where
    matplotlib is not installed."""
    if Path(path).suffix.lower() not in _COMMAND_FIELD:
        raise ArgumentError(f"cannot plot into {path}", hint=f"a name that ends in {', '.join(_COMMAND_FIELD)}")
    check_output_file(path, "the figure")
    require_packages(["matplotlib"], "distill")


def label(text: str) -> str:
    """A text that is not ours as matplotlib shows it: control characters to be seen, "$" no beginning of a formula."""
    return visible(text).replace("$", r"\$")


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of so many inches; matplotlib is imported here, where it is needed."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: str | Path, command: str | None = None) -> None:
    """Write a figure, atomically, with the command that made it in its metadata. Errors as check_figure_path.

    command: by default the command line of this process.
    """
    check_figure_path(path)
    suffix = Path(path).suffix.lower()
    made_by = shlex.join(["python", *sys.argv]) if command is None else command
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=150, metadata={_COMMAND_FIELD[suffix]: made_by})
