"""Automata of token patterns against a search through the string."""

from __future__ import annotations

import pytest
from helpers.automata_oracle import String, language, same, strings
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata import contains, trivial
from ctrlg.errors import ConstraintError, VocabularyError

patterns = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=4)


def occurs(pattern: list[int], string: String) -> bool:
    return any(list(string[start : start + len(pattern)]) == pattern for start in range(len(string)))


@settings(deadline=None, max_examples=50)
@given(wanted=patterns)
def test_contains_finds_what_a_search_finds(wanted: list[list[int]]) -> None:
    found = {string for string in strings(3) if any(occurs(pattern, string) for pattern in wanted)}
    dfa = contains(wanted, 3)
    assert language(dfa) == found
    assert same(dfa, dfa.minimize())


def test_patterns_alike_as_digits() -> None:
    dfa = contains([[2310], [231]], 3000)
    assert dfa.accepts([5, 2310]) and dfa.accepts([231, 0]) and not dfa.accepts([2, 31, 0, 23, 10])
    assert contains([[1, 23], [12]], 50).accepts([12])
    assert not contains([[1, 23]], 50).accepts([12, 3])


def test_a_pattern_inside_another_makes_it_redundant() -> None:
    assert same(contains([[1, 2, 3, 4], [2, 3]], 6), contains([[2, 3]], 6))
    assert contains([[0, 1, 0, 1, 2], [1, 0, 0]], 3).accepts([0, 1, 0, 0])


def test_every_token_may_be_in_a_pattern() -> None:
    assert language(contains([[0, 1]], 2), 3) == {s for s in strings(2, 3) if occurs([0, 1], s)}
    assert contains([[0]], 1).shortest_accepted() == [0]


def test_trivial_accepts_everything() -> None:
    assert language(trivial(2)) == set(strings(2))


def test_what_is_no_pattern_is_refused() -> None:
    with pytest.raises(ConstraintError, match="no patterns"):
        contains([], 3)
    with pytest.raises(ConstraintError, match="a pattern is empty"):
        contains([[1], []], 3)
    for token in (-1, 3):
        with pytest.raises(VocabularyError, match=f"token id {token} of pattern"):
            contains([[0], [1, token]], 3)
