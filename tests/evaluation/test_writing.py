"""A line of results: all ranked sentences, the columns those of the first."""

from __future__ import annotations

import pytest

from ctrlg.evaluation.concept_sets import ConceptSet
from ctrlg.evaluation.writing import Sentence
from ctrlg.generation import GenerationResult, Timing


@pytest.mark.parametrize(("first", "kept"), [(" A dog runs.", True), ("A cat.", False)])
def test_columns_are_those_of_the_first_of_all_different_texts(first: str, kept: bool) -> None:
    concept_set = ConceptSet(3, ("dog", "run"), ())
    timing = Timing(0.1, 0.2, 0.3, 7)
    ranked = [
        GenerationResult(text, (1,), log_prob, 2 * log_prob, not kept, timing)
        for text, log_prob in ((first, -1.0), ("Dogs run.", -1.5), (first.strip(), -1.7), ("Run, dog.", -2.0))
    ]
    found = Sentence(concept_set, concept_set.constraint(0, None), ranked)
    assert found.best is ranked[0]
    assert found.record == {
        "concept_set_idx": 3,
        "concepts": ("dog", "run"),
        "sentences": [first.strip(), "Dogs run.", "Run, dog."],
        "kept": kept,
        "log_prob": -1.0,
    }
