"""One automaton of several that are followed side by side: a state is a number, whatever the automaton."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.paths import UNREACHABLE
from ctrlg.parts.nfa import NFA, States


class Column(abc.ABC):
    """The states of one automaton, by number.

    Attributes:
        initial: the state before the first token.
        accepting: bool, by state.
        live: bool, by state; acceptance can still be reached.
    """

    initial: int
    accepting: NDArray[np.bool_]
    live: NDArray[np.bool_]

    @abc.abstractmethod
    def follow(self, states: NDArray[np.int32]) -> NDArray[np.int32]:
        """The states after each class, int32 [n, K]."""

    @abc.abstractmethod
    def move(self, states: NDArray[np.int32], classes: NDArray[np.int64]) -> NDArray[np.int32]:
        """The states after one class each, int32 [n]."""

    @abc.abstractmethod
    def members(self, state: int) -> Sequence[int]:
        """The automaton's own states that a number stands for."""


class StateColumn(Column):
    """A deterministic automaton: its own states.

    Args:
        delta: int32 [S, K].
        initial: the start state.
        accepting: bool [S].
        distances: int32 [S], tokens to acceptance.
    """

    def __init__(
        self,
        delta: NDArray[np.int32],
        initial: int,
        accepting: NDArray[np.bool_],
        distances: NDArray[np.int32],
    ) -> None:
        self._delta = delta
        self.initial = initial
        self.accepting = accepting
        self.live = distances < UNREACHABLE

    def follow(self, states: NDArray[np.int32]) -> NDArray[np.int32]:
        """See Column."""
        return self._delta[states]

    def move(self, states: NDArray[np.int32], classes: NDArray[np.int64]) -> NDArray[np.int32]:
        """See Column."""
        return self._delta[states, classes]

    def members(self, state: int) -> Sequence[int]:
        """See Column."""
        return (state,)


class SetColumn(Column):
    """A nondeterministic automaton: sets of its states, numbered as they are met; number 0 is the empty set."""

    def __init__(self, automaton: NFA) -> None:
        self._automaton = automaton
        self._sets: list[States] = []
        self._number: dict[States, int] = {}
        self._after: NDArray[np.int32] = np.full((0, automaton.num_classes), -1, dtype=np.int32)
        self.accepting = np.zeros(0, dtype=bool)
        self.live = np.zeros(0, dtype=bool)
        self._add([frozenset(), automaton.start()])
        self.initial = self._number[automaton.start()]

    def follow(self, states: NDArray[np.int32]) -> NDArray[np.int32]:
        """See Column."""
        self._expand(states)
        return self._after[states]

    def move(self, states: NDArray[np.int32], classes: NDArray[np.int64]) -> NDArray[np.int32]:
        """See Column."""
        self._expand(states)
        return self._after[states, classes]

    def members(self, state: int) -> Sequence[int]:
        """See Column."""
        return tuple(self._sets[state])

    def _expand(self, states: NDArray[np.int32]) -> None:
        for state in np.unique(states[self._after[states, 0] < 0]).tolist():
            after, which = self._automaton.following(self._sets[state])
            numbers = self._add(after)
            self._after[state] = np.array(numbers, dtype=np.int32)[which]

    def _add(self, sets: Sequence[States]) -> list[int]:
        fresh = [one for one in dict.fromkeys(sets) if one not in self._number]
        for one in fresh:
            self._number[one] = len(self._sets)
            self._sets.append(one)
        accepting = [any(self._automaton.accepting[state] for state in one) for one in fresh]
        self.accepting = np.append(self.accepting, np.array(accepting, dtype=bool))
        self.live = np.append(self.live, np.array([bool(one) for one in fresh], dtype=bool))
        empty = np.full((len(fresh), self._automaton.num_classes), -1, dtype=np.int32)
        self._after = np.concatenate([self._after, empty])
        return [self._number[one] for one in sets]


def column_of(automaton: NFA) -> Column:
    """The column of an automaton; one that enters no states together needs no sets."""
    if len(automaton.initial) == 1 and not any(automaton.entered_with):
        return StateColumn(automaton.delta, automaton.initial[0], automaton.accepting, automaton.distances())
    return SetColumn(automaton)
