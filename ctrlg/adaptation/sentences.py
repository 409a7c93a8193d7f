"""Sentences to learn a domain from: read from a file, tidied, tokenised, split by concept set."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ctrlg.distillation.sampling.prompts import end_of_text
from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.reading import parse_json, parse_json_lines, read_text

END_OF_TEXT = "<|endoftext|>"


def read_sentences(path: str | Path, column: str = "references") -> list[list[str]]:
    """Groups of sentences of a data file; sentences of one group never end up on both sides of a split.

    Args:
        path: `.jsonl` (one object a line whose `column` is a sentence or a list of sentences, one group a line),
            `.json` (a list of sentences, or of such objects), `.csv` (a table with a header and a column of this name),
            anything else is text, one sentence a line, each its own group.
        column: of tables and objects.

    Raises:
        DataError: a missing or empty file, one that is not what its name says, or a missing column.
    """
    path = Path(path)
    text = read_text(path, hint="give a .txt, .jsonl, .json or .csv file of sentences")
    readers = {".jsonl": _json_lines, ".json": _json_list, ".csv": _csv_rows}
    reader = readers.get(path.suffix.lower())
    groups = reader(text, column, path) if reader else [[line] for line in text.split("\n")]
    tidied = [[sentence.strip() for sentence in group if sentence.strip()] for group in groups]
    groups = [group for group in tidied if group]
    if not groups:
        raise DataError(f"{path} holds no sentences", hint="one sentence a line, or JSON or CSV with a text column")
    return groups


def end_of_text_id(tokenizer: Any, token: str = "") -> int:
    """Id of the token between sentences: `token`, else "<|endoftext|>" where the tokenizer has it, else its own end.

    Args:
        tokenizer: of the language model.
        token: its text.

    Raises:
        CtrlGError: as `end_of_text`.
    """
    preferred = END_OF_TEXT if END_OF_TEXT in tokenizer.get_vocab() else ""
    return end_of_text(tokenizer, token or preferred)


def tidy(sentence: str) -> str:
    """The sentence as it would stand in a book: one space between words, a capital first, a full stop last.

    Args:
        sentence: any text.
    """
    text = re.sub(r"\s+", " ", sentence).strip()
    text = re.sub(r"\s+([.,;:!?])", r"\1", text)
    text = re.sub(r"[\s,;:.]+$", "", text)
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    return text if text[-1] in "!?" else text + "."


def split_groups(groups: Sequence[list[str]], held_out: int) -> tuple[list[str], list[str]]:
    """(training sentences, held-out sentences): every n-th group is held out until `held_out` sentences are.

    Args:
        groups: of `read_sentences`.
        held_out: how many sentences, at least.
    """
    if not 0 < held_out < sum(map(len, groups)):
        raise DataError(
            f"cannot hold out {held_out} of {sum(map(len, groups))} sentences",
            hint=f"hold out fewer (--held_out {max(1, sum(map(len, groups)) // 20)}), or give more data",
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
    """Token ids of each tidied sentence between two end-of-text tokens.

    Args:
        tokenizer: of the language model.
        sentences: texts.
        eos_token_id: of `end_of_text_id`.
        max_tokens: longer sentences are cut, and no end-of-text follows them: sentences do not end there.

    Returns:
        A row of ids for each sentence.

    Raises:
        ArgumentError: max_tokens below 1.
    """
    if max_tokens < 1:
        raise ArgumentError(f"max_tokens is {max_tokens}", hint="tokens a sentence may have, 1 or more")
    texts = [text for text in map(tidy, sentences) if text]
    rows = tokenizer(texts, add_special_tokens=False).input_ids  # type: ignore[operator]
    return [[eos_token_id, *row[:max_tokens], *([eos_token_id] if len(row) <= max_tokens else [])] for row in rows]


def _json_lines(text: str, column: str, path: Path) -> list[list[str]]:
    records = parse_json_lines(text, path, hint="one object a line")
    return [_sentences_of(record, column, place) for place, record in records]


def _json_list(text: str, column: str, path: Path) -> list[list[str]]:
    records = parse_json(text, str(path), hint="a list of sentences or of objects")
    if not isinstance(records, list):
        raise DataError(f"{path} is a {type(records).__name__}", hint="a list of sentences or of objects")
    return [
        [record] if isinstance(record, str) else _sentences_of(record, column, f"{path}, entry {number}")
        for number, record in enumerate(records, start=1)
    ]


def _csv_rows(text: str, column: str, path: Path) -> list[list[str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if column not in (reader.fieldnames or ()):
        raise _no_column(column, reader.fieldnames or (), str(path))
    try:
        return [[row[column] or ""] for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} is not CSV: {error}", hint="commas and a header") from error


def _sentences_of(record: Any, column: str, place: str) -> list[str]:
    if not isinstance(record, dict):
        raise DataError(f"{place} is a {type(record).__name__}, not an object", hint=f'{{"{column}": "A sentence."}}')
    if column not in record:
        raise _no_column(column, record, place)
    value = record[column]
    sentences = [value] if isinstance(value, str) else value
    if not isinstance(sentences, list) or not all(isinstance(sentence, str) for sentence in sentences):
        raise DataError(f"{place}: column {column!r} holds no text", hint="a sentence or a list of sentences")
    return sentences


def _no_column(column: str, found: Iterable[str], place: str) -> DataError:
    return DataError(f"{place} has no column {column!r}", hint=f"it has: {', '.join(found)}; name one with --column")
