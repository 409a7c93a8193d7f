"""What a long job needs at its end, checked before it begins: files that can be written, packages, files to read."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from ctrlg.arguments import path as checked_path
from ctrlg.errors import ArgumentError, DataError
from ctrlg.files import writable_folder


def check_output_file(path: str | Path, name: str = "output") -> Path:
    """The path of a file to write, whose folder is made if need be.

    Raises ArgumentError where a folder is in its place, or its own folder cannot be written.
    """
    path = checked_path(name, path)
    if path.is_dir():
        raise ArgumentError(f"{name} {path} is a folder", hint=f"name a file, as {path / 'result'}")
    if path.exists() and not path.is_file():
        raise ArgumentError(f"{name} {path} is no ordinary file", hint="name a file")
    writable_folder(path.parent)
    return path


def check_output_folder(path: str | Path, name: str = "output") -> Path:
    """The path of a folder to write. Raises ArgumentError where a file is in its place, or its parent cannot be
    written."""
    path = checked_path(name, path)
    if path.exists() and not path.is_dir():
        raise ArgumentError(f"{name} {path} is a file", hint="name a folder, a new one if in doubt")
    writable_folder(path.parent)
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
