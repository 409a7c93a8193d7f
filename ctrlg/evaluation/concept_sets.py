"""CommonGen's concept sets (Lin et al. 2020, arXiv 1911.03705) and the constraint that each of them makes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.constraints import Keywords, WordCount
from ctrlg.constraints.base import Constraint
from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation.columns import concepts_of, set_number, whole_texts
from ctrlg.evaluation.rows import Rows, read_rows

COLUMNS = ("concept_set_idx", "concepts", "references")
"""Or, as on the hub, `target` instead of `references`: one of them a row."""


class ConceptSet(NamedTuple):
    """A concept set of CommonGen: words that one sentence has to contain.

    Attributes:
        number: CommonGen's.
        concepts: lemmas, each to appear in some inflection.
        references: human sentences.
    """

    number: int
    concepts: tuple[str, ...]
    references: tuple[str, ...]

    def constraint(self, least_words: int, most_words: int | None) -> Constraint:
        """Every concept in some inflection, and so many words; no upper limit where `most_words` is None.

        Args:
            least_words: of the sentence.
            most_words: of the sentence; None for no upper limit.
        """
        keywords = Keywords([[concept] for concept in self.concepts], inflect=True)
        if least_words == 0 and most_words is None:
            return keywords
        return keywords & WordCount(least_words, most_words)


def read_concept_sets(source: str | Path, count: int | None = None, split: str = "validation") -> list[ConceptSet]:
    """All sets, or `count` of them spread evenly, of a file or of a split of a data set on the hub (`read_rows`).

    A row has a list `references`, or one of them as `target`; rows of one set with a `target` each are joined. Lists of
    concepts may be text, as in CSV files, see `concepts_of`.

    Args:
        source: a file, or a name on the hub.
        count: of sets; all where None.
        split: of a data set on the hub.

    Raises:
        DataError: as `read_rows`, and missing columns.
        ArgumentError: a count below 1 and as `read_rows`.
    """
    if count is not None and count < 1:
        raise ArgumentError(f"{count} concept sets", hint="at least 1")
    sets = _joined(read_rows(source, split))
    count = len(sets) if count is None else min(count, len(sets))
    return [sets[index * len(sets) // count] for index in range(count)]


def _joined(rows: Rows) -> list[ConceptSet]:
    sets: list[ConceptSet] = []
    index_of: dict[int, int] = {}
    for place, record in rows:
        found = _concept_set(record, place)
        earlier = sets[index_of[found.number]] if found.number in index_of else found
        if set(found.concepts) != set(earlier.concepts):
            raise DataError(
                f"{place}: concept set {found.number} is {', '.join(found.concepts)} here and "
                f"{', '.join(earlier.concepts)} above",
                hint="a number of its own for every concept set",
            )
        if earlier is not found and "references" not in record:
            sets[index_of[found.number]] = earlier._replace(references=earlier.references + found.references)
        else:
            index_of[found.number] = len(sets)
            sets.append(found)
    return sets


def _concept_set(record: Mapping[str, Any], place: str) -> ConceptSet:
    missing = [name for name in COLUMNS if name not in record and not (name == "references" and "target" in record)]
    if missing:
        raise DataError(
            f"{place} has no column {missing[0]!r}", hint=f"needed: {', '.join(COLUMNS)} (or one as 'target')"
        )
    # The hub's test split has sets without references: an empty target.
    references = _texts(record["references"]) if "references" in record else [record["target"]] * bool(record["target"])
    if not isinstance(references, list) or not all(isinstance(text, str) for text in references):
        raise DataError(f"{place}: references is no list of texts", hint="in CSV, one reference a row, as 'target'")
    if not all(map(str.strip, references)):
        raise DataError(f"{place}: references holds an empty text", hint="leave it out: a sentence, or none")
    number, concepts = set_number(record["concept_set_idx"], place), concepts_of(record["concepts"], place)
    return ConceptSet(number, concepts, whole_texts(references, place, "references"))


def _texts(value: Any) -> Any:
    """The list that a text holds as JSON, as in CSV files; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
