"""Completions of joint states: many at once by a rule, or one by a search.

The rule, from any joint state: finish a character that is under way; else take the next token on the shortest way to
the nearest alternative of a clause that is not satisfied, among those after which the core can still accept; when all
are satisfied, the next token on the core's shortest way to its end. What comes next depends on the state alone, so a
completion found from one state is found from every state on its way. Whether the rule gets anywhere is tried out on
the automata themselves, which makes it sound whatever the constraint; that it often does is because clauses rarely
stand in each other's way.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.dfa import DFA
from ctrlg.automata.paths import UNREACHABLE, distances_in
from ctrlg.parts.columns import Column, SetColumn
from ctrlg.parts.graph import Graph

Satisfied = Callable[[NDArray[np.int32]], NDArray[np.bool_]]


class Walked(Protocol):
    """What a search walks on."""

    def successors(self, states: NDArray[np.int64]) -> NDArray[np.int64]: ...
    def bound(self, states: NDArray[np.int64]) -> NDArray[np.int32]: ...
    def accepts(self, states: NDArray[np.int64]) -> NDArray[np.bool_]: ...


class Witnesses:
    """Finds completions.

    Args:
        graph: the core beside each alternative.
        mask: has to accept as well.
        columns: core, mask and every alternative.
        usable: bool [K]; classes with content tokens.
        most: the longest completion that is of use, in tokens.
    """

    def __init__(
        self, graph: Graph, mask: DFA, columns: Sequence[Column], usable: NDArray[np.bool_], most: int
    ) -> None:
        self._columns = columns
        self._clauses = graph.factored.clauses
        self._node_of = graph.node_of
        self._most = most
        safe = usable & _safe_classes(mask)
        alive = graph.distances(graph.accepting, usable) < UNREACHABLE
        # To where a node's alternative accepts and the core can still do so; to where the core accepts.
        self._near = graph.distances(graph.satisfied & alive, safe)
        self._next = _next_classes(graph.delta, self._near, safe, graph.entered_with)
        core = graph.factored.core
        ends = np.zeros(graph.num_nodes, dtype=bool)
        ends[: core.num_states] = core.accepting
        self._far = graph.distances(ends, safe)[: core.num_states]
        self._next_to_end = _next_classes(core.delta, self._far, safe, {})
        whole = distances_in(mask.delta[:, usable], mask.accepting)
        self._next_of_mask = _next_classes(mask.delta, whole, usable, {})
        self._mask_accepting = mask.accepting
        self._least = graph.distances(graph.accepting, usable)

    def lengths(self, tuples: NDArray[np.int32], satisfied: Satisfied) -> NDArray[np.int32]:
        """The length of the completion that the rule finds from each joint state, int32 [n]; UNREACHABLE where none."""
        here = tuples.copy()
        result = np.full(len(here), UNREACHABLE, dtype=np.int32)
        going = np.arange(len(here))
        for step in range(self._most + 1):
            done = satisfied(here[going])
            result[going[done]] = step
            going = going[~done]
            classes = self._chosen(here[going]) if len(going) else np.empty(0, dtype=np.int64)
            going, classes = going[classes >= 0], classes[classes >= 0]
            if not len(going):
                break
            for place, column in enumerate(self._columns):
                here[going, place] = column.move(here[going, place], classes)
        return result

    def bounds(self, tuples: NDArray[np.int32]) -> NDArray[np.int32]:
        """Tokens that no completion can do without: the most that any clause needs with the core, int32 [n]."""
        bound = self._least[tuples[:, 0]].copy()
        for clause in self._clauses:
            needs = [self._of_alternative(place, tuples, self._least)[0] for place in clause]
            bound = np.maximum(bound, np.min(needs, axis=0))
        return bound

    def search(self, walked: Walked, start: int, expansions: int) -> list[int]:
        """The states of a completion from `start` on, none where none is found; best first, by what clauses need."""
        queue: list[tuple[int, int, int]] = [(0, 0, start)]
        came_from: dict[int, tuple[int, int]] = {start: (-1, 0)}
        for _ in range(expansions):
            if not queue:
                break
            _, negative, state = heapq.heappop(queue)
            length = -negative
            here = np.array([state])
            if walked.accepts(here)[0]:
                way = [state]
                while came_from[way[-1]][0] >= 0:
                    way.append(came_from[way[-1]][0])
                return way[::-1]
            if length == self._most:
                continue
            following = np.unique(walked.successors(here)[0])
            bounds = walked.bound(following)
            for other, bound in zip(following.tolist(), bounds.tolist(), strict=True):
                known = came_from.get(other)
                if bound + length + 1 <= self._most and (known is None or known[1] > length + 1):
                    came_from[other] = (state, length + 1)
                    heapq.heappush(queue, (bound + length + 1, -(length + 1), other))
        return []

    def _chosen(self, tuples: NDArray[np.int32]) -> NDArray[np.int64]:
        """The class that the rule takes from each joint state, int64 [n]; -1 where it knows none."""
        core, mask = tuples[:, 0], tuples[:, 1]
        nearest = np.full(len(tuples), UNREACHABLE, dtype=np.int64)
        chosen = np.full(len(tuples), -1, dtype=np.int64)
        satisfied = np.ones(len(tuples), dtype=bool)
        for clause in self._clauses:
            accepted = np.any([self._columns[2 + place].accepting[tuples[:, 2 + place]] for place in clause], axis=0)
            satisfied &= accepted
            for place in clause:
                distance, following = self._of_alternative(place, tuples, self._near)
                closer = ~accepted & (distance < nearest)
                nearest[closer] = distance[closer]
                chosen[closer] = following[closer]
        chosen = np.where(satisfied, self._next_to_end[core], chosen)
        unfinished = ~self._mask_accepting[mask]
        return np.where(unfinished, self._next_of_mask[mask], chosen)

    def _of_alternative(
        self, place: int, tuples: NDArray[np.int32], distance: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The distance from each joint state's pair of core and alternative, and the class of the rule there."""
        core, own = tuples[:, 0], tuples[:, 2 + place]
        if not isinstance(self._columns[2 + place], SetColumn):
            nodes = self._node_of[place][core, own]
        else:
            # Of a set the member that is nearest.
            nodes = np.empty(len(tuples), dtype=np.int32)
            pairs, position = np.unique(np.stack([core, own], axis=1), axis=0, return_inverse=True)
            best = np.empty(len(pairs), dtype=np.int32)
            for row, (state, number) in enumerate(pairs.tolist()):
                members = self._columns[2 + place].members(number)
                candidates = self._node_of[place][state, list(members)]
                best[row] = candidates[np.argmin(distance[candidates])] if len(members) else len(distance) - 1
            nodes = best[position.reshape(-1)]
        return distance[nodes], self._next[nodes]


def _next_classes(
    delta: NDArray[np.int32],
    distance: NDArray[np.int32],
    classes: NDArray[np.bool_],
    entered_with: dict[int, tuple[int, ...]],
) -> NDArray[np.int64]:
    """A class that leads from each node one step nearer, int64 [N]; -1 where none does."""
    near = distance.copy()
    for node, others in entered_with.items():
        near[node] = min(near[node], *(distance[other] for other in others)) if others else near[node]
    nearer = (near[delta] == (distance - 1)[:, None]) & classes
    return np.where(nearer.any(axis=1), nearer.argmax(axis=1), -1)


def _safe_classes(mask: DFA) -> NDArray[np.bool_]:
    """The classes after which the mask accepts, in that accepting state which has most of them; bool [K]."""
    after = mask.accepting[mask.delta] & mask.accepting[:, None]
    return after[after.sum(axis=1).argmax()]
