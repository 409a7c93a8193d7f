"""Rows of data: a file of JSON lines, a JSON list or a CSV file, or, through `datasets`, a data set on the hub."""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.reading import parse_json, parse_json_lines, read_text

Rows = list[tuple[str, dict[str, Any]]]
"""Where each row stands, for messages, and its columns."""
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def read_rows(source: str | Path, split: str = "validation") -> Rows:
    """All rows of a file, or of a split of a data set on the hub, such as allenai/common_gen.

    Files ending in .csv have a header, those ending in .json hold a list or lines, all others are JSON lines.

    Args:
        source: a file, or a name on the hub.
        split: of a data set on the hub.

    Raises:
        DataError: no such file or data set, no rows, and what is not JSON or CSV.
        ArgumentError: `datasets` is needed, for a name on the hub, and not installed.
    """
    file = Path(source)
    if file.exists():
        rows = _from_file(file)
    elif _HUB_NAME.fullmatch(str(source)) and file.suffix not in (".json", ".jsonl", ".csv"):
        rows = _from_hub(str(source), split)
    else:
        raise DataError(f"no such data file: {source}", hint="CommonGen's validation set as JSON lines")
    if not rows:
        raise DataError(f"{source} is empty", hint="one concept set a line")
    return rows


def _from_file(file: Path) -> Rows:
    text = read_text(file, hint="concept sets as JSON lines, JSON or CSV")
    if file.suffix.lower() == ".csv":
        return _csv_rows(text, file)
    if file.suffix.lower() == ".json" and text.lstrip().startswith("["):
        records = parse_json(text, str(file), hint="a list of objects")
        placed = [(f"{file}, record {number}", record) for number, record in enumerate(records, start=1)]
    else:
        placed = parse_json_lines(text, file, hint="one object a line")
    return [(place, record if isinstance(record, dict) else {}) for place, record in placed]


def _csv_rows(text: str, file: Path) -> Rows:
    """Cells are text as they stand: what a column holds is for those who read it."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        for row in reader:
            place = f"{file}, line {reader.line_num}"
            if None in row or None in row.values():
                raise DataError(
                    f"{place} has {'more' if None in row else 'fewer'} cells than the header",
                    hint='put cells with a comma in quotes: "ice cream, dog"',
                )
            rows.append((place, dict(row)))
    except csv.Error as error:
        line = min(reader.line_num, text.count("\n")) + 1  # the lines before the one that fails are counted
        raise DataError(f"{file}, line {line} is not CSV: {error}", hint="commas and a header") from error
    return rows


def _from_hub(name: str, split: str) -> Rows:
    with _quiet_datasets() as datasets:
        try:
            records = datasets.load_dataset(name, split=split).to_list()
        except Exception as error:  # its errors have no common root
            raise DataError(
                f"no file {name}, and no data set of that name to be had: {error}",
                hint="a file of JSON lines, JSON or CSV, or a name on the hub where it is reachable",
            ) from error
    return [(f"{name}, {split}, row {number}", record) for number, record in enumerate(records, start=1)]


@contextmanager
def _quiet_datasets() -> Iterator[Any]:
    """The package without its progress bars and log lines, which are as they were afterwards."""
    if importlib.util.find_spec("datasets") is None:
        raise ArgumentError("not installed: datasets", hint="pip install 'ctrlg[eval]', or give JSON lines")
    import datasets
    from datasets.utils import logging

    level, bars = logging.get_verbosity(), datasets.are_progress_bars_disabled()
    logging.set_verbosity(logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield datasets
    finally:
        logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()
