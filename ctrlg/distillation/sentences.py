"""Sentences to learn a domain from: read from a file, tidied, tokenised, split by concept set."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ctrlg.errors import DataError


def read_sentences(path: str | Path, column: str = "references") -> list[list[str]]:
    """Groups of sentences of a data file; sentences of one group never end up on both sides of a split.

    path: `.txt` (one sentence a line, each its own group) or `.jsonl` (one object a line whose `column` is a
        sentence or a list of sentences, one group a line).
    Raises DataError for a missing or empty file, a line that is no JSON object, or a missing column.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no such data file: {path}", hint="give a .txt or .jsonl file of sentences")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if path.suffix == ".jsonl":
        groups = [_sentences_of(line, column, path, number) for number, line in enumerate(lines, start=1)]
    else:
        groups = [[line.strip()] for line in lines]
    groups = [group for group in groups if group]
    if not groups:
        raise DataError(f"{path} holds no sentences", hint="one sentence a line, or JSON lines with a text column")
    return groups


def tidy(sentence: str) -> str:
    """The sentence as it would stand in a book: one space between words, a capital first, a full stop last."""
    text = re.sub(r"\s+", " ", sentence).strip()
    text = re.sub(r"\s+([.,;:!?])", r"\1", text)
    text = re.sub(r"[\s,;:.]+$", "", text)
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    return text if text[-1] in "!?" else text + "."


def split_groups(groups: Sequence[list[str]], held_out: int) -> tuple[list[str], list[str]]:
    """(training sentences, held-out sentences): every n-th group is held out until `held_out` sentences are."""
    if not 0 < held_out < sum(map(len, groups)):
        raise DataError(
            f"cannot hold out {held_out} of {sum(map(len, groups))} sentences",
            hint="hold out fewer sentences, or give more data",
        )
    average = sum(map(len, groups)) / len(groups)
    stride = max(1, int(len(groups) * average / held_out))
    training: list[str] = []
    testing: list[str] = []
    for index, group in enumerate(groups):
        (testing if index % stride == 0 and len(testing) < held_out else training).extend(group)
    return training, testing


def encode_sentences(
    tokenizer: object, sentences: Iterable[str], eos_token_id: int, max_tokens: int = 64
) -> list[list[int]]:
    """Token ids of each tidied sentence between two end-of-text tokens; longer ones are cut at `max_tokens`."""
    texts = [text for text in map(tidy, sentences) if text]
    rows = tokenizer(texts, add_special_tokens=False).input_ids  # type: ignore[operator]
    return [[eos_token_id, *row[:max_tokens], eos_token_id] for row in rows]


def _sentences_of(line: str, column: str, path: Path, number: int) -> list[str]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number} is not JSON: {error}", hint="one JSON object a line") from error
    if not isinstance(record, dict) or column not in record:
        found = ", ".join(record) if isinstance(record, dict) else type(record).__name__
        raise DataError(
            f"{path}, line {number} has no column {column!r}", hint=f"it has: {found}; name one with --column"
        )
    value = record[column]
    return [value] if isinstance(value, str) else [str(sentence) for sentence in value]
