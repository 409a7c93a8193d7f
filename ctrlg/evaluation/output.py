"""The benchmark's results file: JSON lines that an interrupted run goes on from, or Norm-Q's JSON list made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctrlg.errors import ArgumentError, DataError, differing_settings
from ctrlg.evaluation.results import read_records
from ctrlg.files.atomic import write_json
from ctrlg.files.records import StudyLines

KEY = ("method", "bits", "mask", "seed", "concept_set_idx")
"""Columns by which a line of a results file is told from others."""
SETTINGS = "settings"
"""Column of what all lines of a file have in common; lines of earlier versions lack it."""


def working_file(path: str | Path) -> Path:
    """The file of JSON lines behind a results file: itself, unless its name ends in .json.

    Args:
        path: of the results.
    """
    path = Path(path)
    return path.with_suffix(".jsonl") if _is_list(path) else path


def open_lines(path: str | Path, settings: Mapping[str, Any]) -> StudyLines:
    """What has been written so far, to go on from; to be closed.

    Args:
        path: of the results. Where it ends in .json and holds results of the benchmark already, as a list or, of
            earlier versions, as JSON lines, those that the working file lacks are added to it, so that writing the list
            loses nothing.
        settings: what the lines were written with, see `write_list`.

    Raises:
        ArgumentError: a folder that cannot be written, somebody else's file, or lines written with other settings.
        DataError: as `StudyLines`.
    """
    path = Path(path)
    earlier = _earlier(path) if _is_list(path) and path.exists() else []
    lines = StudyLines(working_file(path), KEY)
    for line in (*lines.lines, *earlier):
        if differing := differing_settings(line.get(SETTINGS, settings), settings):
            lines.close()
            raise ArgumentError(
                f"{path} was written with other settings: {differing}",
                hint="give the same to go on, or another --output",
            )
    for line in earlier:
        key = tuple(line[name] for name in KEY)
        if key not in lines:
            lines.add(key, line)
    return lines


def write_list(path: str | Path, lines: StudyLines) -> None:
    """Where the name of the results ends in .json, write them there as Norm-Q's list, by number of concept set within
    each method, bits, mask and seed. Its records have more columns than Norm-Q's: those that tell them apart.

    Args:
        path: of the results.
        lines: all of them.
    """
    if not _is_list(Path(path)):
        return
    order: dict[tuple[Any, ...], int] = {}
    for line in lines.lines:
        order.setdefault(_group(line), len(order))
    write_json(path, sorted(lines.lines, key=lambda line: (order[_group(line)], line["concept_set_idx"])))


def _is_list(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _earlier(path: Path) -> list[Mapping[str, Any]]:
    """The benchmark's records in a file that is about to be written anew."""
    refusal = ArgumentError(f"{path} is there and is no results file of the benchmark", hint="choose another output")
    try:
        records = read_records(path)
    except (DataError, ValueError, OSError) as error:
        raise refusal from error
    if any(name not in record for record in records for name in KEY):
        raise refusal
    return records


def _group(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in KEY[:-1])
