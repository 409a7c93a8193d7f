"""Ways through an automaton's table: its distinct edges, what is reachable, how far acceptance is.

A state leads to few different states however many token classes there are, so graph searches run over the
distinct pairs (state, next state): `distance[s] = 0` where accepting, else `1 + min_k distance[delta[s, k]]`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNREACHABLE = 2**30


class Incoming(NamedTuple):
    """The distinct edges of a table, grouped by the state they enter.

    start: int64 [S + 1]; the edges into state t are those at start[t] .. start[t + 1].
    source: int32 [E], the states they leave.
    """

    start: NDArray[np.int64]
    source: NDArray[np.int32]

    def into(self, states: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of all edges into `states`, and for each the index in `states` of the one it enters."""
        counts = self.start[states + 1] - self.start[states]
        owner = np.repeat(np.arange(len(states)), counts)
        before = np.cumsum(counts) - counts
        return np.arange(len(owner)) + (self.start[states] - before)[owner], owner


def group_by_target(
    source: NDArray[np.int32], target: NDArray[np.int32], states: int
) -> tuple[Incoming, NDArray[np.int64]]:
    """Edges by the state they enter, and the order int64 [E] that sorts the given ones so."""
    order = np.argsort(target)
    start = np.zeros(states + 1, dtype=np.int64)
    np.cumsum(np.bincount(target, minlength=states), out=start[1:])
    return Incoming(start, source[order]), order


def distinct(states: NDArray[np.integer], count: int) -> NDArray[np.integer]:
    """The distinct ones of some states in [0, count), ascending."""
    if len(states) * 8 < count:
        return np.unique(states)
    found = np.zeros(count, dtype=bool)
    found[states] = True
    return np.flatnonzero(found)


def distances_in(delta: NDArray[np.int32], goal: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Fewest steps in a table from every state to `goal` (bool [S]), int32 [S]; UNREACHABLE where none."""
    ordered = np.sort(delta, axis=1)
    first = np.ones(ordered.shape, dtype=bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=first[:, 1:])
    source = np.repeat(np.arange(len(delta), dtype=np.int32), first.sum(axis=1))
    incoming, _ = group_by_target(source, ordered[first], len(delta))
    return distances(incoming, goal)


def distances(incoming: Incoming, goal: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Fewest steps from every state to one of `goal` (bool [S]), int32 [S]; UNREACHABLE where none."""
    result = np.where(goal, 0, UNREACHABLE).astype(np.int32)
    frontier = np.flatnonzero(goal)
    steps = 0
    while len(frontier):
        steps += 1
        edges, _ = incoming.into(frontier)
        sources = incoming.source[edges]
        frontier = distinct(sources[result[sources] == UNREACHABLE], len(result))
        result[frontier] = steps
    return result


def breadth_first(delta: NDArray[np.int32], initial: int) -> NDArray[np.int64]:
    """The states that some string leads to from `initial`, int64 [R], by their shortest, smallest strings."""
    seen = np.zeros(len(delta), dtype=bool)
    seen[initial] = True
    levels = [np.array([initial], dtype=np.int64)]
    while len(levels[-1]):
        following = delta[levels[-1]].ravel()
        fresh, place = np.unique(following[~seen[following]], return_index=True)
        seen[fresh] = True
        levels.append(fresh[np.argsort(place)].astype(np.int64))
    return np.concatenate(levels)


def reachable(delta: NDArray[np.int32], initial: int) -> NDArray[np.bool_]:
    """Which states some string leads to from `initial`, bool [S]."""
    reached = np.zeros(len(delta), dtype=bool)
    reached[breadth_first(delta, initial)] = True
    return reached
