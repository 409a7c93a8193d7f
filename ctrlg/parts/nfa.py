"""A nondeterministic automaton over token classes: a table, and states that are entered together.

Automata in sequence, with no saying where one ends and the next begins, stay as small as their sum:

    set after a token = union over q of together(delta[q, class_of[token]])

where together(q) is q and every state that is entered with it. The number of runs that accept a string is 1 for an
*unambiguous* automaton whatever the string; only then are sums over states probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.classes import joint
from ctrlg.automata.dfa import DFA
from ctrlg.automata.exploration import explore_one_by_one
from ctrlg.automata.paths import UNREACHABLE, distances, distances_in, group_by_target

States = frozenset[int]


@dataclass(frozen=True, eq=False)
class NFA:
    """An automaton that may be in several states at once.

    Args:
        class_of: int32 [V], the class of every token, in [0, K).
        delta: int32 [S, K], the next state.
        initial: the states before the first token, without those entered with them.
        accepting: bool [S]; a string is accepted when one of the states it leads to is one of these.
        entered_with: for every state those that are entered whenever it is, itself not listed.
    """

    class_of: NDArray[np.int32]
    delta: NDArray[np.int32]
    initial: tuple[int, ...]
    accepting: NDArray[np.bool_]
    entered_with: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, dfa: DFA) -> NFA:
        """The same automaton, without anything nondeterministic about it."""
        return cls(dfa.class_of, dfa.delta, (dfa.initial,), dfa.accepting, ((),) * dfa.num_states)

    @property
    def vocab_size(self) -> int:
        return len(self.class_of)

    @property
    def num_states(self) -> int:
        return len(self.delta)

    @property
    def num_classes(self) -> int:
        return self.delta.shape[1]

    @cached_property
    def together(self) -> tuple[tuple[int, ...], ...]:
        """For every state itself and all that are entered with it, dead ones left out."""
        live = self.distances() < UNREACHABLE
        closed = enumerate(_closed(self.entered_with))
        return tuple(tuple(one for one in (state, *others) if live[one]) for state, others in closed)

    @cached_property
    def settled(self) -> NDArray[np.bool_]:
        """Which states accept whatever follows, alone and with no others entered; bool [S]."""
        stays = (self.delta == np.arange(self.num_states)[:, None]).all(axis=1) & self.accepting
        return stays & np.array([not others for others in self.entered_with])

    def start(self) -> States:
        """The states before the first token, dead ones left out."""
        return frozenset(one for state in self.initial for one in self.together[state])

    def step(self, states: Iterable[int], token_class: int) -> States:
        """The states after one more token of a class, dead ones left out."""
        return frozenset(one for state in states for one in self.together[self.delta[state, token_class]])

    def following(self, states: Iterable[int]) -> tuple[list[States], NDArray[np.int64]]:
        """The different sets of states that one more token leads to, and for each class [K] which of them it is."""
        # Classes that lead every member to the same places are one.
        members = np.array(sorted(states), dtype=np.int64)
        if not len(members):
            return [frozenset()], np.zeros(self.num_classes, dtype=np.int64)
        distinct, which = np.unique(self.delta[members], axis=1, return_inverse=True)
        together = self.together
        sets = [frozenset(one for own in column for one in together[own]) for column in distinct.T.tolist()]
        return sets, which.reshape(-1)

    def accepts(self, ids: Iterable[int]) -> bool:
        """Whether one run over these tokens ends in an accepting state."""
        states = self.start()
        for token in ids:
            states = self.step(states, int(self.class_of[token]))
        return any(self.accepting[state] for state in states)

    def distances(self) -> NDArray[np.int32]:
        """Fewest tokens from every state to acceptance, int32 [S]; `UNREACHABLE` where there is no way."""
        return self._distances

    @cached_property
    def _distances(self) -> NDArray[np.int32]:
        if not any(self.entered_with):
            return distances_in(self.delta, self.accepting)
        goal = self.accepting.copy()
        source = np.repeat(np.arange(self.num_states, dtype=np.int64), self.num_classes)
        edges = np.unique(source * self.num_states + self.delta.reshape(-1))
        source, target = edges // self.num_states, edges % self.num_states
        more = [(source, target)]
        for state, others in enumerate(_closed(self.entered_with)):
            # A state accepts what those entered with it do, and takes their edges.
            goal[state] |= any(self.accepting[other] for other in others)
            own = target[np.isin(source, others)]
            more.append((np.full(len(own), state), own))
        sources, targets = (np.concatenate(ends).astype(np.int32) for ends in zip(*more, strict=True))
        return distances(group_by_target(sources, targets, self.num_states)[0], goal)

    def shortest_length(self) -> int | None:
        """Fewest tokens of an accepted string; None where there is none."""
        fewest = min((int(self._distances[state]) for state in self.initial), default=UNREACHABLE)
        return None if fewest == UNREACHABLE else fewest

    def determinized(self, max_states: int) -> DFA:
        """The deterministic automaton for the same strings, minimal. BudgetError beyond max_states states."""

        def follow(states: States) -> list[States]:
            sets, which = self.following(states)
            return [sets[place] for place in which.tolist()]

        order, delta = explore_one_by_one(
            self.start(),
            follow,
            max_states,
            f"a deterministic automaton of {self.num_states} nondeterministic states",
        )
        accepting = np.array([any(self.accepting[state] for state in states) for states in order])
        return DFA(self.class_of, delta, 0, accepting).minimize()


def sequence(automata: Sequence[DFA | NFA]) -> NFA:
    """Accepts every string that splits into one that each of some automata accepts, in order; parts may be empty.

    Args:
        automata: one at least, over one vocabulary.
    """
    parts = [one if isinstance(one, NFA) else NFA.of(one) for one in automata]
    class_of, deltas, first = _side_by_side(parts)
    entered = _entered_with(parts, first)
    for one, begin, later, later_begin in zip(parts, first, parts[1:], first[1:], strict=False):
        for state in np.flatnonzero(one.accepting).tolist():
            entered[begin + state] += _shifted(later.initial, later_begin)
    accepting = np.zeros(len(entered), dtype=bool)
    accepting[first[-1] :] = parts[-1].accepting
    return NFA(class_of, np.concatenate(deltas), parts[0].initial, accepting, tuple(entered))


def alternatives(automata: Sequence[DFA | NFA]) -> NFA:
    """Accepts what any of some automata accepts.

    Args:
        automata: one at least, over one vocabulary.
    """
    parts = [one if isinstance(one, NFA) else NFA.of(one) for one in automata]
    class_of, deltas, first = _side_by_side(parts)
    initial = tuple(state for one, begin in zip(parts, first, strict=True) for state in _shifted(one.initial, begin))
    accepting = np.concatenate([one.accepting for one in parts])
    return NFA(class_of, np.concatenate(deltas), initial, accepting, tuple(_entered_with(parts, first)))


def joint_classes(
    automata: Sequence[DFA | NFA],
) -> tuple[NDArray[np.int32], list[NDArray[np.int64]]]:
    """Classes of tokens that are alike in several automata, int32 [V], and for each automaton its class of every joint
    one."""
    class_of = automata[0].class_of
    own = [np.arange(automata[0].num_classes)]
    for one in automata[1:]:
        class_of, before, after = joint(class_of, one.class_of, len(own[0]), one.num_classes)
        own = [classes[before] for classes in own] + [after]
    return class_of, own


def _side_by_side(parts: Sequence[NFA]) -> tuple[NDArray[np.int32], list[NDArray[np.int32]], list[int]]:
    """Joint classes, the table of each part over them with its states renumbered, and the first number of each."""
    class_of, own = joint_classes(parts)
    first = np.cumsum([0, *(one.num_states for one in parts)])[:-1].tolist()
    deltas = [one.delta[:, classes] + begin for one, classes, begin in zip(parts, own, first, strict=True)]
    return class_of, [table.astype(np.int32) for table in deltas], first


def _entered_with(parts: Sequence[NFA], first: Sequence[int]) -> list[tuple[int, ...]]:
    """What is entered with each state of all parts, renumbered."""
    return [_shifted(others, begin) for one, begin in zip(parts, first, strict=True) for others in one.entered_with]


def _shifted(states: Iterable[int], by: int) -> tuple[int, ...]:
    return tuple(state + by for state in states)


def _closed(entered_with: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """For every state all that are entered with it, directly or through another; itself not listed."""
    closed = []
    for state, others in enumerate(entered_with):
        seen = dict.fromkeys(others)
        pending = list(others)
        while pending:
            for other in entered_with[pending.pop()]:
                if other not in seen:
                    seen[other] = None
                    pending.append(other)
        seen.pop(state, None)
        closed.append(tuple(seen))
    return closed
