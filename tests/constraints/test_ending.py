"""How texts end."""

from __future__ import annotations

import pytest

from ctrlg.constraints import EndsWith
from ctrlg.errors import UnsatisfiableError
from ctrlg.vocabulary.token_bytes import Vocabulary

CASES = [
    ("the park", " to the park", "", True),
    ("the park", " to the park", ".", True),
    ("the park", " to The park", '."', True),
    ("the park", " the park", "s", False),
    ("the park", " the park a", ".", False),
    ("the park", " a the par", "k.", True),
    ("art", " a party", "", False),
    (["dog", "cat"], " a cat", "!", True),
    ("dog.", " a dog", ".", True),
    ("dog.", " a dog.", ")", False),
    ("dog.", " hot-dog.", "", True),
]


@pytest.mark.parametrize(("phrases", "content", "suffix", "kept"), CASES)
def test_endings(phrases: str, content: str, suffix: str, kept: bool, vocabulary: Vocabulary) -> None:
    ending = EndsWith(phrases)
    assert ending.holds(content + suffix) == kept
    (ids,) = vocabulary.spell([content])
    assert (~ending).compile(vocabulary, suffix=suffix).accepts(ids or ()) == (not kept)
    try:
        accepted = ending.compile(vocabulary, suffix=suffix).accepts(ids or ())
    except UnsatisfiableError:
        accepted = False
    assert kept or not accepted
    if "-" not in content and not content.endswith("par"):  # rarer ways to write the ending
        assert accepted == kept


def test_the_prefix_can_be_the_ending(synthetic: Vocabulary) -> None:
    dfa = EndsWith("the park").compile(synthetic, prefix="In the park", suffix=".")
    assert dfa.accepts([])
    assert not dfa.accepts(synthetic.spell([" a"])[0] or ())


def test_the_same_given_twice_is_one_ending() -> None:
    assert EndsWith(["the park", "The  Park"] * 1000) == EndsWith("the park")
