"""The smallest automaton: same strings, as few states as there are futures, one form for one language."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from helpers.automata_oracle import Plain, language, plains, same
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata import DFA, contains, trivial

quick = settings(deadline=None, max_examples=100)


def futures(plain: Plain) -> int:
    """The number of different sets of continuations (Myhill and Nerode), counted by hand."""
    seen, queue = {0}, [0]
    missing = False
    for state in queue:
        for symbol in range(plain.symbols):
            following = plain.step.get((state, symbol))
            missing |= following is None
            if following is not None and following not in seen:
                seen.add(following)
                queue.append(following)
    kinds = {frozenset(plain.language(plain.states, state)) for state in seen}
    return len(kinds | {frozenset()} if missing else kinds)


@quick
@given(plain=plains(symbols=2, most_states=6))
def test_same_strings_in_as_few_states_as_futures(plain: Plain) -> None:
    smallest = plain.dfa().minimize()
    assert language(smallest) == plain.language()
    assert smallest.num_states == futures(plain)


@settings(deadline=None, max_examples=40)
@given(plain=plains(symbols=3, most_states=4))
def test_over_three_symbols(plain: Plain) -> None:
    smallest = plain.dfa().minimize()
    assert language(smallest, 5) == plain.language(5)
    assert smallest.num_states == futures(plain)


@quick
@given(plain=plains(symbols=3), random=st.randoms(use_true_random=False))
def test_one_language_one_form(plain: Plain, random: Random) -> None:
    """States renumbered and doubled, classes shuffled and split: the result is the same arrays."""
    dfa = plain.dfa()
    order = random.sample(range(2 * dfa.num_states), 2 * dfa.num_states)
    place = np.argsort(order)
    copies = np.array([[random.randrange(2) for _ in range(3)] for _ in order])
    doubled = np.concatenate([dfa.delta, dfa.delta]) + copies * dfa.num_states
    accepting = np.concatenate([dfa.accepting, dfa.accepting])
    shuffled = random.sample(range(3), 3)
    other = DFA(np.argsort(shuffled), place[doubled[order]][:, shuffled], int(place[dfa.initial]), accepting[order])
    assert same(other.minimize(), dfa.minimize())
    assert same(dfa.minimize().minimize(), dfa.minimize())


def alternating_chain(length: int) -> DFA:
    """Every state accepts or rejects at once and can do the other in a step; only how far the end is differs."""
    accept, reject = length, length + 1
    steps = [[state + 1, accept, reject] for state in range(length - 1)] + [[reject] * 3]
    delta = np.array([*steps, [accept] * 3, [reject] * 3])
    accepting = [(length - state) % 2 == 1 for state in range(length)] + [True, False]
    return DFA(np.arange(3), delta, 0, np.array(accepting))


def test_equal_classes_become_one_by_their_smallest_token() -> None:
    dfa = DFA(np.array([3, 1, 2, 0, 1]), np.array([[1, 0, 1, 0], [1, 1, 1, 1]]), 0, np.array([False, True]))
    smallest = dfa.minimize()
    assert smallest.class_of.tolist() == [0, 0, 1, 1, 0]
    assert smallest.delta.tolist() == [[0, 1], [1, 1]]


def test_a_collision_of_hashes_costs_a_run_not_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    dfa = alternating_chain(6)
    expected = dfa.minimize()
    seeds: list[int] = []
    honest = np.random.default_rng

    class AllAlike:
        def integers(self, stop: int, size: int, dtype: type) -> np.ndarray:
            return np.zeros(size, dtype=dtype)

    def generator(seed: int) -> np.random.Generator | AllAlike:
        seeds.append(seed)
        return honest(seed) if seed else AllAlike()

    monkeypatch.setattr(np.random, "default_rng", generator)
    assert same(dfa.minimize(), expected)
    assert seeds == [0, 1]


def test_long_chains_and_large_tables() -> None:
    """Counting modulo 1,000 inside a table of 20 copies; and a chain that no distance tells apart at first."""
    size, copies = 1000, 20
    step = (np.arange(size * copies) + 1) % (size * copies)
    delta = np.stack([step, np.arange(size * copies)], axis=1)
    cycle = DFA(np.arange(2), delta, 0, np.arange(size * copies) % size == 0)
    assert cycle.minimize().num_states == size

    assert alternating_chain(300).minimize().num_states == 302


def test_nothing_and_everything_are_single_states() -> None:
    assert (contains([[0]], 3) & ~contains([[0]], 3)).minimize().num_states == 1
    assert same((contains([[0]], 3) | ~contains([[0]], 3)).minimize(), trivial(3))
