from __future__ import annotations

import numpy as np
import pytest
from helpers.decoding_oracle import EOS, VOCAB, avoids, contains, contents, dfas
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata.dfa import DFA
from ctrlg.errors import BudgetError, UnsatisfiableError
from ctrlg.look_ahead.content import ContentAutomaton, content_automaton
from ctrlg.look_ahead.reachability import Horizon, Reachability, horizon_at


def possible(dfa: DFA, state: int, least: int, most: int) -> bool:
    return next(contents(dfa, state, least, most), None) is not None


def lengths(dfa: DFA, most: int) -> set[int]:
    return {len(content) for content in contents(dfa, dfa.initial, 0, most)}


@settings(deadline=None, max_examples=60)
@given(dfa=dfas(), least=st.integers(0, 3), more=st.integers(0, 2))
def test_live_and_visited_states_by_brute_force(dfa: DFA, least: int, more: int) -> None:
    token_range = (least, least + more)
    automaton = content_automaton(dfa, EOS)
    if not possible(dfa, dfa.initial, *token_range):
        with pytest.raises((BudgetError, UnsatisfiableError)):
            Reachability(automaton, [token_range])
        return
    reachability = Reachability(automaton, [token_range])
    for step in range(token_range[1] + 1):
        horizon = horizon_at(token_range, step)
        live = [possible(dfa, state, *horizon) for state in range(dfa.num_states)]
        np.testing.assert_array_equal(reachability.live[horizon], live)
    reached = {0: {dfa.initial}}
    for step in range(token_range[1]):
        reached[step + 1] = {
            dfa.step(state, token) for state in reached[step] for token in range(VOCAB) if token != EOS
        }
    visited = {horizon: np.zeros(dfa.num_states, dtype=bool) for horizon in reachability.live}
    for step, states in reached.items():
        horizon = horizon_at(token_range, step)
        visited[horizon][list(states)] = True
        visited[horizon] &= reachability.live[horizon]
    for horizon, states in visited.items():
        np.testing.assert_array_equal(reachability.visited[horizon], states)


def even_lengths(period: int = 2) -> DFA:
    """Accepts contents whose length is a multiple of `period`."""
    delta = (np.arange(period, dtype=np.int32) + 1)[:, None] % period
    return DFA(np.zeros(VOCAB, dtype=np.int32), delta, 0, np.arange(period) == 0)


def test_states_that_are_near_but_of_the_wrong_length_are_dead() -> None:
    reachability = Reachability(content_automaton(even_lengths(), EOS), [(4, 4)])
    assert not reachability.live[Horizon(3, 3)][0]
    assert reachability.live[Horizon(3, 3)][1]


@settings(deadline=None, max_examples=60)
@given(dfa=dfas(max_states=3), least=st.integers(0, 4), more=st.integers(0, 2))
def test_refusals_name_the_nearest_lengths_that_work(dfa: DFA, least: int, more: int) -> None:
    most = least + more
    possible = lengths(dfa, 7)
    automaton = content_automaton(dfa, EOS)
    if any(least <= length <= most for length in possible):
        Reachability(automaton, [(least, most)])
        return
    longer = [length for length in possible if length > most]
    shorter = [length for length in possible if length < least]
    with pytest.raises((BudgetError, UnsatisfiableError)) as refused:
        Reachability(automaton, [(least, most)])
    if longer:
        assert f"at least {min(longer)} tokens, max_new_tokens is {most}" in refused.value.message
        assert f"max_new_tokens to {min(longer)}" in refused.value.hint
    elif shorter:
        assert f"has {max(shorter)} tokens, min_new_tokens is {least}" in refused.value.message
    else:
        assert refused.type is UnsatisfiableError


def test_end_of_text_is_no_way_to_keep_a_constraint() -> None:
    with pytest.raises(UnsatisfiableError):
        Reachability(content_automaton(contains(1, EOS), EOS), [(1, 9)])


def sets_of_edges(automaton: ContentAutomaton) -> list[dict[int, set[int]]]:
    """For every state: next state -> classes."""
    result: list[dict[int, set[int]]] = []
    for state in range(automaton.num_states):
        span = range(automaton.edge_start[state], automaton.edge_start[state + 1])
        found: dict[int, set[int]] = {}
        for edge in span:
            classes = set(np.flatnonzero(automaton.class_sets[automaton.edge_set[edge]]).tolist())
            found.setdefault(int(automaton.edge_target[edge]), set()).update(classes)
        result.append(found)
    return result


@settings(deadline=None, max_examples=50)
@given(dfa=dfas(max_states=5), limit=st.sampled_from([0, 8192]))
def test_edges_are_the_table(dfa: DFA, limit: int) -> None:
    automaton = content_automaton(dfa, EOS, max_class_sets=limit)
    usable = {int(automaton.class_of[token]) for token in range(VOCAB) if token != EOS}
    assert set(np.flatnonzero(automaton.usable).tolist()) == usable
    for state, found in enumerate(sets_of_edges(automaton)):
        expected: dict[int, set[int]] = {}
        for k in usable:
            expected.setdefault(int(dfa.delta[state, k]), set()).add(k)
        assert found == expected
        for k in range(automaton.num_classes):
            edge = automaton.edge_of[state, k]
            assert (edge >= 0) == (k in usable)
            if edge >= 0:
                assert automaton.edge_target[automaton.edge_start[state] + edge] == dfa.delta[state, k]


def test_a_shared_class_of_the_end_of_text_is_split() -> None:
    automaton = content_automaton(avoids(), EOS)
    assert automaton.class_of.tolist() == [0, 0, 0, 0, 1]
    assert automaton.num_classes == 1
