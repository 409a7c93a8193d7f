"""Results of a study, one JSON line each, so that what is there already is not measured again."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ctrlg.errors import DataError
from ctrlg.files.atomic import append_line, read_lines
from ctrlg.files.disk import writable_file
from ctrlg.files.locks import Lock


class StudyLines:
    """Lines of a file, each told apart by the columns `names`, kept from other processes until it is closed.

    lines: all there are, oldest first. Raises ArgumentError where the file cannot be written or another process writes
    it, DataError as `read_study`.
    """

    def __init__(self, path: str | Path, names: tuple[str, ...]) -> None:
        self.path = Path(path)
        self.names = names
        writable_file(path)
        self._lock = Lock(self.path)
        self.lines = self._read()
        self._known = {self._key(line) for line in self.lines}

    def __enter__(self) -> StudyLines:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes write the file; the lines can still be read here."""
        self._lock.close()

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return key in self._known

    def add(self, key: tuple[Any, ...], values: Mapping[str, Any]) -> dict[str, Any]:
        """Write a line down; returns it."""
        line = {**dict(zip(self.names, key, strict=True)), **values}
        self._write(line)
        self.lines.append(line)
        self._known.add(key)
        return line

    def _read(self) -> list[dict[str, Any]]:
        """The lines of the file; a study whose file looks otherwise has its own way to read, and to write."""
        return read_study(self.path, self.names)

    def _write(self, line: Mapping[str, Any]) -> None:
        append_line(self.path, line)

    def _key(self, line: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(line[name] for name in self.names)


def read_study(path: str | Path, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The lines of a study's file, oldest first; none where there is no file.

    Raises DataError for a file that is no such study's, or lacks a column.
    """
    lines = read_lines(path, names[0])
    for number, line in enumerate(lines, start=1):
        if missing := [name for name in names if name not in line]:
            raise DataError(f"{path}, line {number}, lacks {missing[0]!r}", hint="is this another study's file?")
    return lines


def mean_and_deviation(values: Sequence[float], digits: int = 3) -> str:
    """ "-5.570 ± 0.003": the mean and the standard deviation (n - 1), the mean alone of a single value."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def markdown_rows(rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = [[str(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *body))
