"""The joint states of a factored constraint, numbered as they are met, and how each can be completed.

A joint state is a state of the core, one of the mask and one of every alternative. `fewest` says in how many tokens a
completion is known from it. It is the length of one that was found, so it never promises what cannot be kept; and the
way that was found leads through states whose own is one token shorter, so that whoever is at a state that can be
completed in time has a next token that can as well.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.dfa import DFA
from ctrlg.automata.paths import UNREACHABLE
from ctrlg.parts.columns import Column, StateColumn, column_of
from ctrlg.parts.factored import Factored
from ctrlg.parts.graph import Graph
from ctrlg.parts.witnesses import Witnesses

DEAD = 0
"""The number of every state from which nothing is accepted."""


class JointStates:
    """Joint states and their successors. Threads may share it.

    Args:
        factored: the automata.
        graph: of the same automata.
        mask: a further automaton over the same classes, which has to accept as well.
        eos_token_id: the token that ends a text; it is never content.
        most: the longest completion that is of use, in tokens.

    Attributes:
        class_of: int32 [V], in [0, K]; K for the end-of-text token.
        initial: the state before the first token.
    """

    def __init__(self, factored: Factored, graph: Graph, mask: DFA, eos_token_id: int, most: int) -> None:
        self.class_of = np.array(factored.class_of, dtype=np.int32)
        self.class_of[eos_token_id] = factored.num_classes
        self.num_classes = factored.num_classes
        # A class of no token but end-of-text is never taken.
        self._usable = np.bincount(self.class_of, minlength=self.num_classes + 1)[:-1] > 0
        self._clauses = factored.clauses
        core, columns = factored.core, [column_of(one) for one in factored.alternatives]
        self._columns: list[Column] = [
            StateColumn(core.delta, core.initial, core.accepting, core.distances()),
            StateColumn(mask.delta, mask.initial, mask.accepting, mask.distances()),
            *columns,
        ]
        self._witnesses = Witnesses(graph, mask, self._columns, self._usable, most)
        # Random weights tell the tuples of one state's successors apart; the dictionary compares them whole.
        self._weights = np.random.default_rng(0).integers(1, 2**63, len(self._columns), dtype=np.int64)
        self._tuples = np.zeros((1024, len(self._columns)), dtype=np.int32)
        self._fewest = np.full(1024, -1, dtype=np.int32)
        self._fewest[DEAD] = UNREACHABLE
        self._number: dict[bytes, int] = {}
        self._after: dict[int, NDArray[np.int64]] = {DEAD: np.full(self.num_classes, DEAD, dtype=np.int64)}
        self._count = 1
        self._changing = threading.RLock()
        start = np.array([[column.initial for column in self._columns]], dtype=np.int32)
        self.initial = int(self._numbers(start)[0])

    @property
    def vocab_size(self) -> int:
        return len(self.class_of)

    @property
    def nbytes(self) -> int:
        """Bytes of the states and successors met so far, about."""
        per_state = self._tuples.shape[1] * 4 * 2 + 200
        return self._count * per_state + len(self._after) * 8 * self.num_classes

    def tuples(self, states: NDArray[np.int64]) -> NDArray[np.int32]:
        """The states of core, mask and every alternative, int32 [n, 2 + alternatives]; not for dead ones."""
        return self._tuples[states]

    def members(self, alternative: int, state: int) -> Sequence[int]:
        """An alternative's own states that its number in a tuple stands for."""
        return self._columns[2 + alternative].members(state)

    def accepts(self, states: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which states a content may end in."""
        return self._satisfied(self._tuples[states]) & (states != DEAD)

    def advance(self, states: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The states after one content token each, int64 [n]; tokens in [0, V), none of them end-of-text."""
        following = self.successors(states)
        return following[np.arange(len(states)), self.class_of[tokens]]

    def successors(self, states: NDArray[np.int64]) -> NDArray[np.int64]:
        """The states after a token of each class, int64 [n, K]."""
        with self._changing:
            missing = np.array([one for one in np.unique(states).tolist() if one not in self._after], dtype=np.int64)
            if len(missing):
                self._expand(missing)
            return np.stack([self._after[one] for one in states.tolist()])

    def fewest(self, states: NDArray[np.int64]) -> NDArray[np.int32]:
        """In how many tokens a completion is known from each state; UNREACHABLE where none was found."""
        with self._changing:
            distinct = np.unique(states)
            unknown = distinct[self._fewest[distinct] < 0]
            if len(unknown):
                self._fewest[unknown] = self._witnesses.lengths(self._tuples[unknown], self._satisfied)
            return self._fewest[states]

    def find_first(self, expansions: int) -> int:
        """In how many tokens a completion is known from the start, looked for harder if need be.

        Where the simple way fails, a best-first search follows; what it finds is remembered along its way.
        """
        start = np.array([self.initial])
        if self.fewest(start)[0] < UNREACHABLE:
            return int(self._fewest[self.initial])
        way = self._witnesses.search(self, self.initial, expansions)
        for left, state in enumerate(reversed(way)):
            self._fewest[state] = left
        return int(self._fewest[self.initial])

    def bound(self, states: NDArray[np.int64]) -> NDArray[np.int32]:
        """Tokens that no completion can do without, int32 [n]; UNREACHABLE where there is none."""
        return np.where(states == DEAD, UNREACHABLE, self._witnesses.bounds(self._tuples[states]))

    def _satisfied(self, tuples: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which tuples are accepted, bool [n]."""
        accepted = [column.accepting[tuples[:, place]] for place, column in enumerate(self._columns)]
        result = accepted[0] & accepted[1]
        for clause in self._clauses:
            result &= np.any([accepted[2 + place] for place in clause], axis=0)
        return result

    def _alive(self, tuples: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which tuples no automaton has given up for good, bool [n]."""
        live = [column.live[tuples[:, place]] for place, column in enumerate(self._columns)]
        result = live[0] & live[1]
        for clause in self._clauses:
            result &= np.any([live[2 + place] for place in clause], axis=0)
        return result

    def _expand(self, states: NDArray[np.int64]) -> None:
        tuples = self._tuples[states]
        columns = [column.follow(tuples[:, place]) for place, column in enumerate(self._columns)]
        codes = np.zeros((len(states), self.num_classes), dtype=np.int64)
        for weight, column in zip(self._weights, columns, strict=True):
            codes += weight * column
        for row, state in enumerate(states.tolist()):
            _, first, position = np.unique(codes[row], return_index=True, return_inverse=True)
            following = np.stack([column[row, first] for column in columns], axis=1)
            alive = np.flatnonzero(self._alive(following))
            after = np.full(len(following), DEAD, dtype=np.int64)
            after[alive] = self._numbers(following[alive])
            self._after[state] = np.where(self._usable, after[position.reshape(-1)], DEAD)

    def _numbers(self, tuples: NDArray[np.int32]) -> NDArray[np.int64]:
        """The numbers of tuples, new ones where they were not met before."""
        numbers = np.empty(len(tuples), dtype=np.int64)
        for row, each in enumerate(np.ascontiguousarray(tuples)):
            number = self._number.setdefault(each.tobytes(), self._count)
            if number == self._count:
                if number == len(self._tuples):
                    self._tuples = np.concatenate([self._tuples, np.zeros_like(self._tuples)])
                    self._fewest = np.concatenate([self._fewest, np.full_like(self._fewest, -1)])
                self._tuples[number] = each
                self._count += 1
            numbers[row] = number
        return numbers
