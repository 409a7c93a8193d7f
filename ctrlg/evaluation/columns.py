"""Columns of concept sets and of what was written for them: the number of a set, its concepts, and texts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from ctrlg.errors import DataError

FORMS = 'as ["ice cream", "dog"], or as text: "ice cream, dog" or "ice cream#dog"'
_SEPARATOR = re.compile(r"\s*[,;|\t\n]\s*|\s*#\s*(?=\w)")
_HASH = re.compile(r"(?<=\w)\s*#\s*(?=\w)")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def set_number(value: Any, place: str) -> int:
    """The number of a concept set: a whole number, or the text of one as in CSV files.

    Args:
        value: of the column.
        place: where it stands, for messages.

    Raises:
        DataError: anything else.
    """
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, float) and math.isfinite(value):
        is_whole = value == int(value)
    if isinstance(value, str):
        is_whole = re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value) is not None
    if not is_whole:
        raise DataError(f"{place}: concept_set_idx is {value!r}", hint="a whole number")
    return int(value)


def concepts_of(value: Any, place: str) -> tuple[str, ...]:
    """Concepts of a list of texts, or of one text; each once, whatever its case.

    "dog#run", "dog, run" and "['dog' 'run']" are two concepts, "ice cream, dog" as well: spaces alone part nothing.

    Args:
        value: of the column.
        place: where it stands, for messages.

    Raises:
        DataError: anything else, none, and words without a separator.
    """
    texts = _listed(value, place) if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{place}: concepts is no list of texts but {value!r}"[:300], hint=FORMS)
    parts = [" ".join(part.split()) for text in texts for part in _HASH.split(text)]
    if not parts or not all(any(map(str.isalnum, part)) for part in parts):
        raise DataError(f"{place}: concepts is {value!r}: there is none, or one without a letter"[:300], hint=FORMS)
    distinct: dict[str, str] = {}
    for part in parts:
        distinct.setdefault(part.casefold(), part)
    return tuple(distinct.values())


def whole_texts(values: Sequence[str], place: str, column: str) -> tuple[str, ...]:
    """The texts.

    Args:
        values: of the column.
        place: where it stands, for messages.
        column: its name, for messages.

    Raises:
        DataError: half of a character (a lone surrogate, which JSON can spell): no scorer reads it.
    """
    for value in values:
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise DataError(
                f"{place}: {column} holds half of a character: {value!r}"[:300], hint="a text of whole characters"
            )
    return tuple(values)


def _listed(text: str, place: str) -> list[Any]:
    """What a text lists, as JSON, as Python or numpy print it, or with separators."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            quoted = [single or double for single, double in _QUOTED.findall(text)]
            if quoted:
                return quoted
            text = text[1:-1].strip()
    parts = [part for part in _SEPARATOR.split(text) if part]
    if len(parts) == 1 and len(text.split()) > 1:
        raise DataError(f"{place}: concepts is {text!r}: one concept, or {len(text.split())}?"[:300], hint=FORMS)
    return parts
