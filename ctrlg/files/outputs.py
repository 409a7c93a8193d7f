"""What a long job needs at its end, checked before it begins: files that can be written, packages, files to read."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from ctrlg.arguments import path as checked_path
from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.disk import writable_file


def check_output_file(path: str | Path, name: str = "output") -> Path:
    """The path of a file to write, whose folder is made if need be. Raises ArgumentError as `writable_file`."""
    path = checked_path(name, path)
    try:
        writable_file(path)
    except ArgumentError as error:
        raise ArgumentError(f"{name}: {error.message}", hint=error.hint) from error
    return path


def check_input_file(path: str | Path, name: str) -> Path:
    """The path of a file to read. Raises DataError where there is none."""
    path = checked_path(name, path)
    if not path.is_file():
        wrong = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{name} {path} {wrong}", hint="check the path")
    return path


def require_packages(packages: Iterable[str], extra: str) -> None:
    """Raise ArgumentError for packages that are not installed. extra: of ours that installs them."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ArgumentError(f"not installed: {', '.join(missing)}", hint=f"pip install 'ctrlg[{extra}]'")
