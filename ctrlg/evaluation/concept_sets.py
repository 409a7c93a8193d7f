"""CommonGen's concept sets (Lin et al. 2020, arXiv 1911.03705) and the promise that each of them makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ctrlg.constraints import Keywords, WordCount
from ctrlg.constraints.base import Constraint
from ctrlg.errors import ArgumentError, DataError

COLUMNS = ("concept_set_idx", "concepts", "references")


class ConceptSet(NamedTuple):
    """number: CommonGen's. concepts: lemmas, each to appear in some inflection. references: human sentences."""

    number: int
    concepts: tuple[str, ...]
    references: tuple[str, ...]

    def promise(self, least_words: int, most_words: int) -> Constraint:
        """Every concept in some inflection, and so many words."""
        keywords = Keywords([[concept] for concept in self.concepts], inflect=True)
        return keywords & WordCount(least_words, most_words)


def read_concept_sets(path: str | Path, count: int | None = None) -> list[ConceptSet]:
    """All sets of a file of JSON lines, or `count` of them spread evenly over it.

    Raises DataError for no such file, no sets, lines that are not JSON and missing columns, ArgumentError for a count
    below 1.
    """
    if count is not None and count < 1:
        raise ArgumentError(f"{count} concept sets", hint="at least 1")
    file = Path(path)
    if not file.is_file():
        raise DataError(f"no such data file: {path}", hint="CommonGen's validation set as JSON lines")
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty", hint="one concept set a line")
    count = len(lines) if count is None else min(count, len(lines))
    chosen = [index * len(lines) // count for index in range(count)]
    return [_concept_set(lines[index], f"{path}, line {index + 1}") for index in chosen]


def _concept_set(line: str, place: str) -> ConceptSet:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place} is not JSON: {error}", hint="one object a line") from error
    missing = [name for name in COLUMNS if not isinstance(record, dict) or name not in record]
    if missing:
        raise DataError(f"{place} has no column {missing[0]!r}", hint=f"needed: {', '.join(COLUMNS)}")
    return ConceptSet(int(record["concept_set_idx"]), tuple(record["concepts"]), tuple(record["references"]))
