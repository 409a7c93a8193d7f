"""What an automaton accepts is true of the text, whatever tokens it is written in; and what it refuses, it must."""

from __future__ import annotations

import pytest
from helpers.random_contents import contents, finished, halves

from ctrlg.constraints import (
    After,
    Apart,
    At,
    Before,
    Constraint,
    Count,
    CountParity,
    EndsWith,
    Exclude,
    Keywords,
    OneLine,
    OneSentence,
    Ordered,
    WordCount,
)
from ctrlg.errors import UnsatisfiableError
from ctrlg.vocabulary.token_bytes import Vocabulary

POSITIVE: list[tuple[Constraint, tuple[str, ...]]] = [
    (Keywords([["dog", "dogs"], ["hot dog", "park"]]), ("dog", "hot dog", "park")),
    (Keywords(["café", "kiss"]), ("café", "kiss")),
    (Keywords(["狗", "3.5"]), ("狗", "3.5")),
    (Ordered(["dog", ["cat", "hot dog"], "dog"]), ("dog", "cat", "hot dog")),
    (EndsWith("the park"), ("the park", "park")),
    (EndsWith(["?", "end."]), ("?", "end.")),
    (CountParity(["dog", "dogs"]), ("dog", "dogs")),
    (CountParity("kiss", even=False), ("kiss", "KISS")),
    (Count(["dog", "hot dog"], 2), ("dog", "hot dog")),
    (Count(["dog"], 1, 1), ("dog",)),
]
PLACES: list[tuple[Constraint, tuple[str, ...]]] = [  # what prefix or suffix decide they leave alone
    (At(2, ["dog", "cat"]), ("dog", "cat", "hot")),
    (At(-1, "dog"), ("dog", "park")),
    (At(-2, ["dog", "park"]), ("dog", "park", "cat")),
    (Apart(["dog", "cat"], 2), ("dog", "cat")),
    (Apart("dog", 1), ("dog",)),
    (Before("but", Keywords(["dog"])), ("dog", "but")),
    (After("but", Exclude(["dog"])), ("dog", "but", "cat")),
]
EXACT: list[tuple[Constraint, tuple[str, ...]]] = [
    (Keywords(["art"], whole_word=False), ("art",)),
    (Exclude(["dog", "hot cat"]), ("dog", "hot cat", "hot dog")),
    (Exclude(["7", "kiss"]), ("7", "kiss", "17")),
    (Exclude(["été", "狗"]), ("été", "狗")),
    (Exclude("art", whole_word=False), ("art",)),
    (WordCount(2, 5), ("dog", ".", "3.5")),
    (WordCount(3), ("—", "“", "dog")),
    (~WordCount(2, 5), ("dog", ".", "don't")),
    (OneLine(), ("dog", "“")),
    (~OneLine(), ("dog", "“")),
    (OneSentence(), ("dog.", ",", "3.5", "“")),
    (~OneSentence(), ("dog.", ",", "3.5", "“")),
    (~EndsWith("the park"), ("the park", "park")),
    (~Exclude("art", whole_word=False), ("art",)),
]
COMBINED: list[tuple[Constraint, tuple[str, ...]]] = [
    (~(Keywords(["dog", "park"]) & WordCount(2, 5)), ("dog", "park")),
    ((Exclude("dog") | Keywords(["3.5"])) & WordCount(1, 4), ("dog", "3.5")),
    (~(~Keywords(["dog"]) | EndsWith("dog")), ("dog",)),
]
NEGATIVE = [(~constraint, words) for constraint, words in [*POSITIVE, *PLACES] if not isinstance(constraint, Apart)]
NEGATIVE += [(~EXACT[1][0], EXACT[1][1])]
AFFIXES = [
    ("", ""),
    ("The ", "."),
    ("do", "g"),
    ("hot", "s."),
    ("“Well-", "é"),
    ("Run", "ning."),
    ("a ", " in the park."),
]
COUNT = 300  # contents for each constraint, prefix and suffix


def affixes(vocabulary: Vocabulary, constraint: Constraint) -> list[tuple[str, str]]:
    """All pairs for a small vocabulary; for a large one no text around, and one pair that depends on the constraint."""
    if vocabulary.vocab_size < 1000:
        return AFFIXES
    return [AFFIXES[0], AFFIXES[1 + len(str(constraint)) % 4]]


@pytest.mark.parametrize(("constraint", "words"), POSITIVE + PLACES + NEGATIVE + COMBINED, ids=str)
def test_accepted_is_kept(constraint: Constraint, words: tuple[str, ...], vocabulary: Vocabulary) -> None:
    accepted = 0
    for prefix, suffix in affixes(vocabulary, constraint):
        try:
            dfa = constraint.compile(vocabulary, prefix=prefix, suffix=suffix)
        except UnsatisfiableError as error:
            texts = (finished(vocabulary, prefix, ids, suffix) for ids in contents(vocabulary, words, COUNT))
            assert "it could be: the prefix is" in str(error.hint) or not any(map(constraint.holds, texts))
            continue
        for ids in contents(vocabulary, words, COUNT):
            holds = constraint.holds(finished(vocabulary, prefix, ids, suffix))
            accepts = dfa.accepts(ids)
            assert holds or not accepts, finished(vocabulary, prefix, ids, suffix)
            accepted += accepts
    assert accepted


@pytest.mark.parametrize(("constraint", "words"), EXACT, ids=str)
def test_accepted_exactly_if_kept_where_characters_are_whole(
    constraint: Constraint, words: tuple[str, ...], vocabulary: Vocabulary
) -> None:
    outcomes = set()
    for prefix, suffix in affixes(vocabulary, constraint):
        try:
            dfa = constraint.compile(vocabulary, prefix=prefix, suffix=suffix)
        except UnsatisfiableError as error:
            texts = (finished(vocabulary, prefix, ids, suffix) for ids in contents(vocabulary, words, COUNT))
            assert "it could be: the prefix is" in str(error.hint) or not any(map(constraint.holds, texts))
            continue
        for ids in contents(vocabulary, words, COUNT):
            holds = constraint.holds(finished(vocabulary, prefix, ids, suffix))
            accepts = dfa.accepts(ids)
            assert accepts == holds or (holds and not halves(vocabulary).isdisjoint(ids)), (prefix, ids, suffix)
            outcomes.add(accepts)
    assert outcomes == {True, False}
