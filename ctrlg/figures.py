"""What all figures share: colours that differ in grey as well, and files that say which command drew them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctrlg.errors import ArgumentError
from ctrlg.files import atomic_file

FORMATS = (".png", ".svg")
DARK, MIDDLE, LIGHT = "#1b3a5c", "#c2571a", "#9dc3a2"  # luminance about 20, 45 and 75 %


def check_output(path: str | Path) -> None:
    """Raise ArgumentError unless the name of a figure ends in a format that can be written."""
    if Path(path).suffix not in FORMATS:
        raise ArgumentError(f"cannot draw into {path}", hint=f"a name that ends in {' or '.join(FORMATS)}")


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of so many inches; matplotlib is imported here, where it is needed."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: str | Path, command: str) -> None:
    """Write a figure, atomically, with the command that drew it in its metadata. Errors as check_output."""
    check_output(path)
    suffix = Path(path).suffix
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=150, metadata={"Description": command})
