"""What several automata accept together: pairs of their states over joint token classes, from the start state outwards.

A pair of states (a, b) goes to (delta_a[a, i], delta_b[b, j]) for every pair (i, j) of classes that some
token has; only pairs that are reached, and from which both can still accept, become states.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.classes import joint
from ctrlg.automata.exploration import DEAD, explore
from ctrlg.automata.minimization import minimize
from ctrlg.automata.paths import UNREACHABLE
from ctrlg.automata.table import Automaton
from ctrlg.errors import VocabularyError

MAX_STATES = 200_000

A = TypeVar("A", bound=Automaton)


def intersect(dfas: Sequence[A], max_states: int = MAX_STATES) -> A:
    """The automaton that accepts what all of some automata accept; two at a time, the smallest first.

    What lies in between is minimized, the result of the last step is not.

    Args:
        dfas: one at least.
        max_states: most states of a step.

    Raises:
        VocabularyError: vocabularies differ in size.
        BudgetError: a step needs more than max_states states.
    """
    for dfa in dfas:
        require_vocabulary(dfa, dfas[0].vocab_size)
    result, *others = sorted(dfas, key=lambda dfa: dfa.num_states)
    for position, other in enumerate(others):
        result = pairs(minimize(result) if position else result, other, max_states)[0]
    return result


def forbid(dfa: A, token_ids: Iterable[int]) -> A:
    """`dfa` with the given tokens leading to a dead state.

    Args:
        dfa: the automaton.
        token_ids: tokens in [0, V).

    Raises:
        VocabularyError: an id out of range.
    """
    ids = np.array(sorted({int(token) for token in token_ids}), dtype=np.int64)
    if not len(ids):
        return dfa
    if ids[0] < 0 or ids[-1] >= dfa.vocab_size:
        wrong = ids[0] if ids[0] < 0 else ids[-1]
        raise VocabularyError(
            f"token id {wrong} is outside the automaton's vocabulary of {dfa.vocab_size} tokens",
            hint=f"token ids run from 0 to {dfa.vocab_size - 1}",
        )
    class_of = dfa.class_of.copy()
    class_of[ids] = dfa.num_classes
    dead = dfa.num_states
    delta = np.full((dfa.num_states + 1, dfa.num_classes + 1), dead, dtype=np.int32)
    delta[:-1, :-1] = dfa.delta
    return type(dfa)(class_of, delta, dfa.initial, np.append(dfa.accepting, False))


def require_vocabulary(dfa: Automaton, vocab_size: int) -> None:
    """VocabularyError unless the automaton reads `vocab_size` tokens."""
    if dfa.vocab_size != vocab_size:
        raise VocabularyError(
            f"automata over {vocab_size} and {dfa.vocab_size} tokens cannot be combined",
            hint="build all of them with the vocab_size of the HMM",
        )


def pairs(first: A, second: A, max_states: int = MAX_STATES) -> tuple[A, NDArray[np.int64]]:
    """The automaton that accepts what both accept, not minimized, and the state of `first` in each of its states (some
    state where nothing is accepted any more). BudgetError beyond max_states states."""
    class_of, first_class, second_class = joint(first.class_of, second.class_of, first.num_classes, second.num_classes)
    first_delta, second_delta = first.delta[:, first_class], second.delta[:, second_class]
    first_live = first.distances() < UNREACHABLE
    second_live = second.distances() < UNREACHABLE
    width = second.num_states

    def follow(names: NDArray[np.int64]) -> NDArray[np.int64]:
        following_first, following_second = first_delta[names // width], second_delta[names % width]
        live = first_live[following_first] & second_live[following_second] & (names >= 0)[:, None]
        return np.where(live, following_first.astype(np.int64) * width + following_second, DEAD)

    start_live = first_live[first.initial] and second_live[second.initial]
    start = first.initial * width + second.initial if start_live else DEAD
    names, delta = explore(start, follow, max_states, f"product of {first!r} and {second!r}")
    accepting = first.accepting[names // width] & second.accepting[names % width] & (names >= 0)
    return type(first)(class_of, delta, 0, accepting), np.maximum(names, 0) // width
