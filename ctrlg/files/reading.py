"""Data files of users: text in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark, and JSON.

What cannot be read is refused with file, line and reason."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from ctrlg.arguments import nameable
from ctrlg.errors import DataError

_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def read_text(path: str | Path, hint: str = "give a file of text") -> str:
    """The text of a file, its lines ended by "\\n", without a byte-order mark.

    hint: what the file should be. Raises DataError for a file that is missing or no regular file, and for content that
    is no text.
    """
    path = nameable(path)
    if not path.is_file():
        problem = f"{path} is no regular file" if path.exists() else f"no such data file: {path}"
        raise DataError(problem, hint=hint)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}", hint=hint) from error
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        name = encoding.removesuffix("-sig").upper()
        raise DataError(
            f"{path}, line {line}, is no text in {name}: {error.reason} (byte {error.start})",
            hint="save it as UTF-8; is it compressed, or another kind of file?",
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{path}, line {line}, holds a null character",
            hint="save it as UTF-8; is it UTF-16 without a byte-order mark, or another kind of file?",
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str, place: str, hint: str) -> Any:
    """The value of a JSON text. place: file and line, for messages. Raises DataError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # too many digits or brackets are errors of their own
        raise DataError(f"{place} is not JSON: {error}", hint=hint) from error


def parse_json_lines(text: str, path: str | Path, hint: str) -> list[tuple[str, Any]]:
    """Every line that is not blank as (its place, its value). Raises DataError.

    Lines end with "\\n" alone: U+2028, U+0085 and their like, at which `str.splitlines` cuts, may stand in JSON.
    """
    numbered = [(f"{path}, line {number}", line) for number, line in enumerate(text.split("\n"), start=1)]
    return [(place, parse_json(line, place, hint)) for place, line in numbered if line.strip()]
