"""The sets of states that follow a set, many classes at a time, against one class at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata.dfa import DFA
from ctrlg.parts import alternatives, sequence


def _random_dfa(seed: int) -> DFA:
    random = np.random.default_rng(seed)
    states = int(random.integers(1, 5))
    delta = random.integers(0, states, (states, 3)).astype(np.int32)
    return DFA(np.array([0, 1, 2, 1, 0], dtype=np.int32), delta, 0, random.random(states) < 0.5)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3), st.booleans(), st.integers(0, 2**16 - 1))
@settings(max_examples=60, deadline=None)
def test_all_classes_at_once_are_the_classes_one_by_one(seeds: list[int], in_order: bool, chosen: int) -> None:
    parts = [_random_dfa(seed) for seed in seeds]
    nfa = sequence(parts) if in_order else alternatives(parts)
    states = frozenset(state for state in range(nfa.num_states) if chosen >> state & 1)
    sets, which = nfa.following(states)
    assert [sets[place] for place in which.tolist()] == [nfa.step(states, one) for one in range(nfa.num_classes)]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3), st.booleans(), st.lists(st.integers(0, 4)))
@settings(max_examples=60, deadline=None)
def test_deterministic_automata_accept_the_same(seeds: list[int], in_order: bool, ids: list[int]) -> None:
    parts = [_random_dfa(seed) for seed in seeds]
    nfa = sequence(parts) if in_order else alternatives(parts)
    assert nfa.determinized(1000).accepts(ids) == nfa.accepts(ids)
