"""Rows of data: a file of JSON lines, or, through `datasets`, a JSON list, a CSV file, a data set on the hub."""

from __future__ import annotations

import importlib.util
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ctrlg.errors import ArgumentError, DataError

Rows = list[tuple[str, dict[str, Any]]]
"""Where each row stands, for messages, and its columns."""
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def read_rows(source: str | Path, split: str = "validation") -> Rows:
    """All rows of a file, or of a split of a data set on the hub, such as allenai/common_gen.

    Files ending in .csv and those that hold a JSON list go through `datasets`; all others are JSON lines.
    Raises DataError for no such file or data set, no rows, and what is not JSON or CSV, ArgumentError where `datasets`
    is needed and not installed.
    """
    file = Path(source)
    if file.is_file():
        rows = _through_datasets(file) if _kind(file) else _json_lines(file)
    elif _HUB_NAME.fullmatch(str(source)) and file.suffix not in (".json", ".jsonl", ".csv"):
        rows = _from_hub(str(source), split)
    else:
        raise DataError(f"no such data file: {source}", hint="CommonGen's validation set as JSON lines")
    if not rows:
        raise DataError(f"{source} is empty", hint="one concept set a line")
    return rows


def _kind(file: Path) -> str | None:
    """What `datasets` calls the format; None for JSON lines, which are read without it."""
    if file.suffix == ".csv":
        return "csv"
    with file.open(encoding="utf-8", errors="replace") as text:
        return "json" if file.suffix == ".json" and text.read(64).lstrip().startswith("[") else None


def _json_lines(file: Path) -> Rows:
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            place = f"{file}, line {number}"
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{place} is not JSON: {error}", hint="one object a line") from error
            rows.append((place, record if isinstance(record, dict) else {}))
    return rows


def _through_datasets(file: Path) -> Rows:
    kind = _kind(file)
    if file.read_bytes().strip() in (b"", b"[]"):  # of which `datasets` makes an error without words
        return []
    with _quiet_datasets() as datasets, tempfile.TemporaryDirectory() as folder:
        try:
            table = datasets.load_dataset(kind, data_files=str(file), split="train", cache_dir=folder)
            records = table.to_list()
        except Exception as error:  # its errors have no common root
            problem = str(error.__cause__ or error).strip() or "no rows"
            raise DataError(
                f"{file} cannot be read as {str(kind).upper()}: {problem}", hint="a table of concept sets"
            ) from error
    return [(f"{file}, row {number}", record) for number, record in enumerate(records, start=1)]


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
