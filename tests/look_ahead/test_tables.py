from __future__ import annotations

import numpy as np
import pytest
from helpers.decoding_oracle import EOS, TinyHMM, contains, contents, dfas, random_hmm
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ctrlg.automata.dfa import DFA
from ctrlg.errors import CtrlGError
from ctrlg.look_ahead.content import content_automaton
from ctrlg.look_ahead.reachability import Horizon, Reachability
from ctrlg.look_ahead.suffix import suffix_probabilities
from ctrlg.look_ahead.tables import LookAhead

RANGES = [(0, 3), (2, 4), (3, 3)]


def log_values(hmm: TinyHMM, dfa: DFA, suffix: tuple[int, ...], horizon: Horizon, state: int) -> np.ndarray:
    """log B[state, h] by enumeration, [H]."""
    texts = [(*content, *suffix) for content in contents(dfa, state, horizon.least, horizon.most)]
    states = np.eye(len(hmm.initial))
    values = np.array([sum(hmm.probability(text, start) for text in texts) for start in states])
    with np.errstate(divide="ignore"):
        return np.log(values)


def check_tables(hmm: TinyHMM, dfa: DFA, suffix: tuple[int, ...], table_bytes: int) -> None:
    automaton = content_automaton(dfa, EOS)
    reachability = Reachability(automaton, RANGES)
    look_ahead = LookAhead(hmm.model, automaton, suffix_probabilities(hmm.model, suffix), reachability, table_bytes)
    for horizon, visited in reachability.visited.items():
        states = np.flatnonzero(visited)
        found = look_ahead.value(horizon, states)
        for row, state in enumerate(states):
            with np.errstate(divide="ignore"):
                ours = np.log(found.values[row].double().numpy()) + found.log_scale[row]
            np.testing.assert_allclose(ours, log_values(hmm, dfa, suffix, horizon, int(state)), atol=2e-5)


@settings(deadline=None, max_examples=25)
@given(
    dfa=dfas(),
    seed=st.integers(0, 1000),
    zeros=st.sampled_from([0.0, 0.4]),
    suffix=st.sampled_from([(4,), (3, 4), (3, 3, 4)]),
)
def test_values_are_sums_over_all_texts(dfa: DFA, seed: int, zeros: float, suffix: tuple[int, ...]) -> None:
    hmm = random_hmm(seed, zeros=zeros)
    try:
        check_tables(hmm, dfa, suffix, table_bytes=1 << 30)
    except CtrlGError:
        assume(False)


@pytest.mark.parametrize("table_bytes", [0, 100, 1 << 30])
def test_tables_from_checkpoints_are_the_same(table_bytes: int) -> None:
    check_tables(random_hmm(3), contains(0, 1), (2, 4), table_bytes)


def test_checkpoints_bound_the_memory() -> None:
    hmm, dfa = random_hmm(5), contains(0, 1, 2)
    automaton = content_automaton(dfa, EOS)
    reachability = Reachability(automaton, [(1, 100)])
    suffix = suffix_probabilities(hmm.model, (4,))
    whole = LookAhead(hmm.model, automaton, suffix, reachability)
    sparse = LookAhead(hmm.model, automaton, suffix, reachability, table_bytes=0)
    for least, most in [(0, 99), (0, 98), (0, 50), (0, 3)]:
        horizon = Horizon(least, most)
        np.testing.assert_array_equal(whole.table(horizon).rows.values, sparse.table(horizon).rows.values)
        np.testing.assert_array_equal(whole.table(horizon).rows.log_scale, sparse.table(horizon).rows.log_scale)
    assert sparse.nbytes < whole.nbytes / 3


def test_hundreds_of_tokens_do_not_underflow() -> None:
    hmm = random_hmm(1)
    only_zero = DFA(np.array([0, 1, 1, 1, 1]), np.array([[0, 1], [1, 1]]), 0, np.array([True, False]))
    automaton = content_automaton(only_zero, EOS)
    reachability = Reachability(automaton, [(400, 400)])
    look_ahead = LookAhead(hmm.model, automaton, suffix_probabilities(hmm.model, (4,)), reachability)
    found = look_ahead.value(Horizon(400, 400), np.array([0]))
    state, log = hmm.emission[:, 4].copy(), 0.0
    for _ in range(400):
        state = hmm.emission[:, 0] * (hmm.transition @ state)
        log += np.log(state.max())
        state /= state.max()
    ours = np.log(found.values[0].double().numpy()) + found.log_scale[0]
    np.testing.assert_allclose(ours, np.log(state) + log, rtol=1e-5)
