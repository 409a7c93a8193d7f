"""Files of written sentences: a JSON list, or JSON lines, of {"concept_set_idx", "concepts", "sentences"}."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.errors import DataError
from ctrlg.evaluation.columns import concepts_of, set_number, whole_texts
from ctrlg.files.reading import parse_json, parse_json_lines, read_text

REQUIRED = ("concept_set_idx", "concepts")


class Written(NamedTuple):
    """What was written for one concept set.

    Attributes:
        number: CommonGen's.
        concepts: lemmas.
        sentences: best first.
    """

    number: int
    concepts: tuple[str, ...]
    sentences: tuple[str, ...]

    def best(self) -> Written:
        """Its first sentence alone: files of ranked sentences hold the best one first."""
        return self._replace(sentences=self.sentences[:1])

    @classmethod
    def of(cls, record: Mapping[str, Any], place: str) -> Written:
        """From a record with a list `sentences` or a text `sentence`.

        Args:
            record: of a results file.
            place: where it stands, for messages.

        Raises:
            DataError: a column that is missing or wrong; the message names `place`.
        """
        missing = [name for name in REQUIRED if name not in record]
        sentences = record.get("sentences", record.get("sentence"))
        if missing or sentences is None:
            raise DataError(
                f"{place} has no column {(missing or ['sentences'])[0]!r}",
                hint=f"needed: {', '.join((*REQUIRED, 'sentences'))}; there are: {', '.join(map(str, record))}",
            )
        texts = [sentences] if isinstance(sentences, str) else sentences
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{place}: 'sentences' holds no text", hint="a list of sentences")
        number, concepts = set_number(record["concept_set_idx"], place), concepts_of(record["concepts"], place)
        return cls(number, concepts, whole_texts(texts, place, "sentences"))


def read_results(path: str | Path) -> list[Written]:
    """All records of a file.

    Args:
        path: of the file.

    Raises:
        DataError: as `read_records`, and missing columns.
    """
    return [Written.of(record, place) for place, record in _placed(path)]


def read_records(path: str | Path) -> list[Mapping[str, Any]]:
    """All records of a file as they are.

    Args:
        path: of the file.

    Raises:
        DataError: no such file, no record, and what is not JSON.
    """
    return [record for _, record in _placed(path)]


def _placed(path: str | Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Every record, and where it stands."""
    file = Path(path)
    hint = "a file of written sentences, as `ctrlg benchmark` leaves it"
    if file.suffix == ".json" and not file.exists() and file.with_suffix(".jsonl").is_file():
        hint = f"a run that is not finished has written {file.with_suffix('.jsonl')}: read that"
    text = read_text(path, hint=hint)
    if text.lstrip().startswith("["):
        values = parse_json(text, str(path), hint="a list, or one object a line")
        placed = [(f"{path}, record {number}", value) for number, value in enumerate(values, start=1)]
    else:
        placed = parse_json_lines(text, path, hint="one object a line")
    if not placed:
        raise DataError(f"{path} holds no results", hint="one record a concept set")
    return [(place, _object(record, place)) for place, record in placed]


def _object(record: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise DataError(f"{place} is a {type(record).__name__}", hint="an object with concepts and sentences")
    return record
