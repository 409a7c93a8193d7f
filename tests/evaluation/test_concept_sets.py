"""Reading concept sets, and the promises they make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets


def line(index: int) -> str:
    return json.dumps({"concept_set_idx": index, "concepts": ["dog", "run"], "references": [f"Dog {index} runs."]})


def test_sets_are_spread_evenly(tmp_path: Path) -> None:
    file = tmp_path / "sets.jsonl"
    file.write_text("\n".join(map(line, range(10))) + "\n\n")
    assert [concept_set.number for concept_set in read_concept_sets(file, 4)] == [0, 2, 5, 7]
    assert [concept_set.number for concept_set in read_concept_sets(file, 99)] == list(range(10))
    assert read_concept_sets(file)[3] == ConceptSet(3, ("dog", "run"), ("Dog 3 runs.",))


def test_the_promise_is_every_concept_in_some_form_and_a_number_of_words() -> None:
    promise = ConceptSet(0, ("dog", "run"), ()).promise(3, 5)
    assert promise.holds("Two dogs ran.") and promise.holds("The dog is running away.")
    assert not promise.holds("Two dogs walked.") and not promise.holds("Dogs run.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("{", "line 1 is not JSON"),
        ('{"concept_set_idx": 1, "concepts": []}', "line 1 has no column 'references'"),
        ("[]", "line 1 has no column 'concept_set_idx'"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "sets.jsonl"
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        read_concept_sets(file)


def test_missing_files_and_counts_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data file"):
        read_concept_sets(tmp_path / "none.jsonl")
    with pytest.raises(ArgumentError, match="0 concept sets"):
        read_concept_sets(tmp_path / "none.jsonl", 0)
