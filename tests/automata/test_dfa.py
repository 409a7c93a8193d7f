"""The automaton itself: what it accepts, how far acceptance is, what it refuses."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from helpers.automata_oracle import Plain, language, plains, strings
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata import DFA
from ctrlg.errors import ConstraintError, VocabularyError

EVEN_ONES = ([0, 1], [[0, 1], [1, 0]], 0, [True, False])


def make(class_of: Any = None, delta: Any = None, initial: Any = None, accepting: Any = None) -> DFA:
    """EVEN_ONES, with some parts replaced."""
    given_parts = (class_of, delta, initial, accepting)
    parts = [default if part is None else part for part, default in zip(given_parts, EVEN_ONES, strict=True)]
    return DFA(np.asarray(parts[0]), np.asarray(parts[1]), cast(int, parts[2]), np.asarray(parts[3]))


@settings(deadline=None, max_examples=60)
@given(plain=plains(symbols=3))
def test_accepts_what_a_reading_by_hand_accepts(plain: Plain) -> None:
    assert language(plain.dfa(), 5) == plain.language(5)


@settings(deadline=None, max_examples=60)
@given(plain=plains(), string=st.lists(st.integers(0, 1), max_size=6), split=st.integers(0, 6))
def test_run_may_be_interrupted(plain: Plain, string: list[int], split: int) -> None:
    dfa = plain.dfa()
    state = dfa.initial
    for token in string[:split]:
        state = dfa.step(state, token)
    assert dfa.run(string[split:], state) == dfa.run(string)


@settings(deadline=None, max_examples=100)
@given(plain=plains(symbols=3))
def test_distances_are_those_of_the_shortest_accepted_strings(plain: Plain) -> None:
    dfa = plain.dfa()
    for state in range(plain.states):
        lengths = [len(string) for string in plain.language(5, state)]
        expected = min(lengths) if lengths else None
        assert dfa.shortest_length(state) == expected
        assert dfa.distances()[state] == (DFA.UNREACHABLE if expected is None else expected)
    assert dfa.shortest_length() == dfa.shortest_length(0)


@settings(deadline=None, max_examples=100)
@given(plain=plains(symbols=3))
def test_shortest_accepted_is_the_first_of_the_shortest(plain: Plain) -> None:
    accepted = sorted(plain.language(5), key=lambda string: (len(string), string))
    assert plain.dfa().shortest_accepted() == (list(accepted[0]) if accepted else None)


def test_distances_along_a_chain() -> None:
    chain = make(delta=[[min(state + 1, 9), state] for state in range(10)], accepting=[False] * 9 + [True])
    assert chain.distances().tolist() == list(range(9, -1, -1))


@settings(deadline=None, max_examples=60)
@given(plain=plains(symbols=3), forbidden=st.sets(st.integers(0, 2)))
def test_forbidden_tokens_occur_nowhere(plain: Plain, forbidden: set[int]) -> None:
    expected = {string for string in plain.language(5) if not forbidden & set(string)}
    assert language(plain.dfa().forbid(forbidden), 5) == expected


def test_nothing_forbidden_changes_nothing() -> None:
    dfa = make()
    assert dfa.forbid([]) is dfa


def test_arrays_are_the_automatons_own() -> None:
    delta = np.array([[0, 1], [1, 0]], dtype=np.int32)
    dfa = make(delta=delta)
    delta[0, 0] = 1
    assert dfa.accepts([0])
    for array in (dfa.class_of, dfa.delta, dfa.accepting, dfa.distances()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[0]
    assert (~dfa).delta is dfa.delta, "read-only arrays are shared, not copied"


def test_read_only_views_are_copied() -> None:
    base = np.array([[0, 1], [1, 0]], dtype=np.int32)
    view = base[:]
    view.setflags(write=False)
    dfa = make(delta=view)
    base[0, 0] = 1
    assert dfa.accepts([0])


def test_classes_without_tokens_are_no_way_anywhere() -> None:
    dfa = make(class_of=[2, 0, 2, 0], delta=[[1, 1, 0], [1, 1, 1]], accepting=[False, True])
    assert (dfa.num_classes, dfa.class_of.tolist()) == (2, [1, 0, 1, 0])
    assert dfa.shortest_accepted() == [1]
    unreachable = make(class_of=[0, 0], delta=[[0, 1], [1, 1]], accepting=[False, True])
    assert unreachable.shortest_accepted() is None


@pytest.mark.parametrize(
    "parts",
    [
        {"class_of": []},
        {"class_of": [0, 2]},
        {"class_of": [0, -1]},
        {"class_of": [0.0, 1.0]},
        {"class_of": [[0, 1]]},
        {"delta": [0, 1]},
        {"delta": [[0, 2], [0, 0]]},
        {"delta": [[0, -1], [0, 0]]},
        {"delta": [[], []]},
        {"initial": 2},
        {"initial": -1},
        {"initial": 0.5},
        {"accepting": [True]},
        {"accepting": [1, 0]},
    ],
)
def test_broken_tables_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(ConstraintError) as error:
        make(**parts)
    assert error.value.hint


@pytest.mark.parametrize("token", [-1, 2])
def test_tokens_out_of_range_are_refused(token: int) -> None:
    dfa = make()
    for reading in (
        lambda: dfa.accepts([token]),
        lambda: dfa.step(0, token),
        lambda: dfa.forbid([0, token]),
    ):
        with pytest.raises(VocabularyError, match=f"token id {token} "):
            reading()


@pytest.mark.parametrize("state", [-1, 2])
def test_states_out_of_range_are_refused(state: int) -> None:
    dfa = make()
    for asking in (
        lambda: dfa.step(state, 0),
        lambda: dfa.run([], state),
        lambda: dfa.shortest_length(state),
    ):
        with pytest.raises(ConstraintError, match=f"state {state} "):
            asking()


def test_representation_tells_the_sizes() -> None:
    assert repr(make()) == "DFA(2 states, 2 token classes, 2 tokens)"
    assert len(strings(2)) == 127
