"""A constraint as a regular expression: it matches the texts that keep the constraint, and only those."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.errors import ArgumentError
from ctrlg.evaluation.concept_sets import ConceptSet
from studies.alternatives.expressions import Counting, constraint_pattern

CONCEPTS = ("dog", "run", "leaf")
VOCABULARY = ("dog", "Dogs", "Ran", "running", "leaves", "leaf", "the", "dogma", "A", "leave")


def text(words: tuple[str, ...] | list[str], comma: int = -1) -> str:
    return " ".join(f"{word}," if place == comma else word for place, word in enumerate(words)) + "."


def kept(concepts: tuple[str, ...], words: tuple[int, int], written: str) -> bool:
    return ConceptSet(0, concepts, ()).constraint(*words).holds(written)


@pytest.mark.parametrize("concepts", [("dog",), ("run", "leaf"), CONCEPTS])
@pytest.mark.parametrize("words", [(0, 3), (1, 4), (3, 3), (4, 4)])
def test_it_matches_what_keeps_the_constraint(concepts: tuple[str, ...], words: tuple[int, int]) -> None:
    exact = re.compile(constraint_pattern(concepts, words))
    few = ("dog", "Ran", "leaves", "the", "dogma")
    for length in range(1, 6):
        for sentence in product(few, repeat=length):
            assert bool(exact.fullmatch(text(sentence))) == kept(concepts, words, text(sentence)), sentence


@settings(max_examples=300, deadline=None)
@given(words=st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=18), comma=st.integers(-1, 12))
def test_it_matches_long_texts_that_keep_the_constraint(words: list[str], comma: int) -> None:
    written = text(words, comma)
    pattern = re.compile(constraint_pattern(CONCEPTS[:2], (6, 16)))
    assert bool(pattern.fullmatch(written)) == kept(CONCEPTS[:2], (6, 16), written)


@settings(max_examples=300, deadline=None)
@given(words=st.lists(st.sampled_from(VOCABULARY), min_size=3, max_size=18))
def test_what_is_smaller_gives_up_texts_and_no_constraint(words: list[str]) -> None:
    written, numbers = text(words), (6, 16)
    exact, given_order, shared, shared_given, uncounted = (
        bool(re.fullmatch(constraint_pattern(CONCEPTS, numbers, counting, any_order), written))
        for counting, any_order in (
            (Counting.EXACT, True),
            (Counting.EXACT, False),
            (Counting.SHARED, True),
            (Counting.SHARED, False),
            (Counting.NONE, True),
        )
    )
    assert exact == (uncounted and numbers[0] <= len(words) <= numbers[1])
    assert shared_given <= given_order <= exact and shared_given <= shared <= exact


@pytest.mark.parametrize(
    ("counting", "sentence", "matches"),
    [
        (Counting.SHARED, "a dog is seen running on leaves.", True),
        (Counting.SHARED, "a dog running on the many old brown leaves.", False),  # 5 words in one gap
        (Counting.EXACT, "a dog running on the many old brown leaves.", True),
        (Counting.EXACT, "on the leaves a dog runs.", False),  # in another order
        (Counting.NONE, "dogs run leaves.", True),
    ],
)
def test_each_way_of_counting_in_the_order_given(counting: Counting, sentence: str, matches: bool) -> None:
    pattern = constraint_pattern(CONCEPTS, (6, 16), counting, any_order=False)
    assert bool(re.fullmatch(pattern, sentence)) == matches


@pytest.mark.parametrize("counting", [Counting.EXACT, Counting.SHARED])
def test_every_number_of_words_can_be_written(counting: Counting) -> None:
    for length in range(6, 17):
        others = [["the"] * len(range(place, length - 3, 4)) for place in range(4)]
        words = [*others[0], "dog", *others[1], "run", *others[2], "leaf", *others[3]]
        assert len(words) == length
        assert re.fullmatch(constraint_pattern(CONCEPTS, (6, 16), counting), text(words))


def test_other_texts_do_not_match() -> None:
    pattern = constraint_pattern(("dog",), (1, 16))
    for written in (
        "dog",
        "dog. ",
        " dog.",
        "dog  the.",
        "dog\nthe.",
        "dog the,, a.",
        "\u212adog.",
        "dog .",
        "dog2.",
        "dOg.",
    ):
        assert not re.fullmatch(pattern, written), written
    assert not re.fullmatch(constraint_pattern(("milk",), (1, 3)), "\u212ailk.")


@pytest.mark.parametrize(
    ("concepts", "words", "message"),
    [((), (1, 2), "0 concepts"), (CONCEPTS, (1, 2), "3 concepts"), (("dog",), (4, 3), r"\(4, 3\)")],
)
def test_ranges_without_room_are_refused(concepts: tuple[str, ...], words: tuple[int, int], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        constraint_pattern(concepts, words)


def test_concepts_of_several_words_are_refused() -> None:
    with pytest.raises(ArgumentError, match="several words"):
        constraint_pattern(("hot dog",), (1, 3))
