"""Automata one behind the other and beside each other, against all strings read by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from helpers.automata_oracle import same, strings
from helpers.decoding_oracle import VOCAB, avoids, contains, dfas
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata.dfa import DFA
from ctrlg.automata.paths import UNREACHABLE
from ctrlg.errors import BudgetError
from ctrlg.parts import NFA, alternatives, sequence

LONGEST = 5
ALL = strings(VOCAB, LONGEST)
SOME = ALL[:781]  # of at most four tokens
Language = frozenset[tuple[int, ...]]


def language(automaton: DFA | NFA, among: Sequence[tuple[int, ...]] = SOME) -> Language:
    return frozenset(text for text in among if automaton.accepts(text))


def split(text: tuple[int, ...], parts: Sequence[Language]) -> bool:
    """Whether a text is one of the first part, then one of the second, and so on."""
    ends = {0}
    for part in parts:
        ends = {end for begin in ends for end in range(begin, len(text) + 1) if text[begin:end] in part}
    return len(text) in ends


@st.composite
def nfas(draw: st.DrawFn) -> NFA:
    """Automata in sequences of alternatives of automata, of a few levels."""
    make = draw(st.sampled_from([sequence, alternatives]))
    inner = draw(st.lists(dfas(max_states=3), min_size=1, max_size=3))
    outer = draw(st.lists(dfas(max_states=3), max_size=1))
    other = alternatives if make is sequence else sequence
    return make([other(inner), *outer]) if draw(st.booleans()) else make([*inner, *outer])


def only(*text: int) -> DFA:
    """Accepts one text."""
    count = len(text)
    delta = np.full((count + 2, VOCAB), count + 1, dtype=np.int32)
    for place, token in enumerate(text):
        delta[place, token] = place + 1
    return DFA(np.arange(VOCAB, dtype=np.int32), delta, 0, np.arange(count + 2) == count)


@settings(deadline=None, max_examples=40)
@given(st.lists(dfas(), min_size=1, max_size=3))
def test_a_sequence_accepts_what_splits(automata: list[DFA]) -> None:
    whole = sequence(automata)
    parts = [language(one) for one in automata]
    assert whole.num_states == sum(one.num_states for one in automata)
    assert language(whole) == {text for text in SOME if split(text, parts)}


@settings(deadline=None, max_examples=8)
@given(dfas(), dfas())
def test_a_sequence_of_longer_strings(first: DFA, second: DFA) -> None:
    parts = [language(first, ALL), language(second, ALL)]
    assert language(sequence([first, second]), ALL) == {text for text in ALL if split(text, parts)}


@settings(deadline=None, max_examples=40)
@given(st.lists(dfas(), min_size=1, max_size=3))
def test_alternatives_accept_what_any_accepts(automata: list[DFA]) -> None:
    expected = frozenset[tuple[int, ...]]().union(*map(language, automata))
    assert language(alternatives(automata)) == expected


@settings(deadline=None, max_examples=25)
@given(dfas(max_states=3), dfas(max_states=3), dfas(max_states=3))
def test_sequences_and_alternatives_nest(one: DFA, two: DFA, three: DFA) -> None:
    a, b, c = map(language, (one, two, three))
    assert language(sequence([alternatives([one, two]), three])) == {text for text in SOME if split(text, [a | b, c])}
    both = frozenset(text for text in SOME if split(text, [a, b]))
    assert language(alternatives([sequence([one, two]), three])) == both | c
    assert language(sequence([sequence([one, two]), three])) == language(sequence([one, sequence([two, three])]))


@settings(deadline=None, max_examples=30)
@given(dfas(), st.integers(1, 3))
def test_one_automaton_several_times(automaton: DFA, times: int) -> None:
    parts = [language(automaton)] * times
    assert language(sequence([automaton] * times)) == {text for text in SOME if split(text, parts)}
    assert language(alternatives([automaton] * times)) == parts[0]


@settings(deadline=None, max_examples=40)
@given(nfas())
def test_determinized_accepts_the_same_and_is_minimal(automaton: NFA) -> None:
    dfa = automaton.determinized(5_000)
    assert language(dfa) == language(automaton)
    assert same(dfa, dfa.minimize())


@settings(deadline=None, max_examples=40)
@given(nfas())
def test_distances_are_those_of_the_shortest_strings(automaton: NFA) -> None:
    found = automaton.distances()
    for state in range(automaton.num_states):
        here = NFA(automaton.class_of, automaton.delta, (state,), automaton.accepting, automaton.entered_with)
        shortest = min((len(text) for text in SOME if here.accepts(text)), default=None)
        if shortest is not None:
            assert found[state] == shortest
        else:
            assert found[state] > 4
        # What is dead is left out of every set of states, and nothing else is.
        assert (found[state] == UNREACHABLE) == (not here.start())
    whole = automaton.determinized(5_000).shortest_length()
    assert automaton.shortest_length() == whole


@settings(deadline=None, max_examples=30)
@given(nfas())
def test_a_settled_state_accepts_whatever_follows(automaton: NFA) -> None:
    for state in np.flatnonzero(automaton.settled).tolist():
        here = NFA(automaton.class_of, automaton.delta, (state,), automaton.accepting, automaton.entered_with)
        assert language(here) == frozenset(SOME)
        assert automaton.together[state] == (state,)


@settings(deadline=None, max_examples=25)
@given(dfas())
def test_an_automaton_stays_itself(dfa: DFA) -> None:
    for automaton in (NFA.of(dfa), sequence([dfa]), alternatives([dfa])):
        assert language(automaton) == language(dfa)
        assert automaton.shortest_length() == dfa.shortest_length()
        assert same(automaton.determinized(100), dfa.minimize())


@settings(deadline=None, max_examples=20)
@given(dfas(max_states=3))
def test_parts_that_accept_the_empty_string_or_nothing(dfa: DFA) -> None:
    empty, nothing, anything = only(), avoids() & ~avoids(), avoids()
    accepted = language(dfa)
    assert language(sequence([empty, dfa, empty, empty])) == accepted
    assert language(sequence([anything, dfa, anything])) == {
        text
        for text in SOME
        if any(text[i:j] in accepted for i in range(len(text) + 1) for j in range(i, len(text) + 1))
    }
    for dead in (sequence([dfa, nothing]), sequence([nothing, dfa]), sequence([empty, nothing, anything])):
        assert not language(dead) and dead.shortest_length() is None and dead.start() == frozenset()
        assert (dead.distances()[: dfa.num_states] == UNREACHABLE).all() or dead.num_states > dfa.num_states
        assert dead.determinized(10).shortest_length() is None
    assert language(alternatives([nothing, dfa, nothing])) == accepted


def test_dead_states_are_not_followed() -> None:
    automaton = sequence([contains(1), only(2, 3)])
    states = automaton.start()
    for token in (2, 3, 1, 0, 2):
        states = automaton.step(states, int(automaton.class_of[token]))
    # Behind the 1: one state waits for a 2, one has seen it; the dead one of `only` is in no set.
    assert len(states) == 3
    assert all(automaton.distances()[state] < UNREACHABLE for state in states)
    assert automaton.accepts((2, 3, 1, 0, 2, 3)) and not automaton.accepts((2, 3, 1, 0, 2, 0))


@pytest.mark.parametrize("place", [1, 3, 6])
def test_the_place_from_the_end_takes_exponentially_many_states_when_determinized(place: int) -> None:
    one = np.array([[1, 2], [2, 2], [2, 2]], dtype=np.int32)
    is_one = DFA(np.array([1, 0, 1, 1, 1]), one, 0, np.array([False, True, False]))
    step = DFA(np.zeros(VOCAB, np.int32), np.array([[1], [2], [2]]), 0, np.array([False, True, False]))
    automaton = sequence([avoids(), is_one, *[step] * (place - 1)])
    assert automaton.num_states == 2 + 3 * place
    assert automaton.determinized(1_000).num_states == 2**place
    with pytest.raises(BudgetError):
        automaton.determinized(2**place - 1)
