"""Ctrl-G's helpers on lists of edges `(u, v, mask)`: mask is a bool array [V] of the tokens that lead from u to v."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ctrlg.arguments import LARGEST_VOCABULARY, Between, checked
from ctrlg.automata.graph_conversion import Edge


@checked
def set2npset(A: Iterable[int], n: Annotated[int, Between(0, LARGEST_VOCABULARY)]) -> NDArray[np.bool_]:
    """The mask of a set of numbers.

    Args:
        A: numbers below n.
        n: length of the mask.

    Returns:
        bool [n].
    """
    mask = np.zeros(n, dtype=bool)
    mask[list(A)] = True
    return mask


def edges2G(edges: Iterable[Edge], reverse: bool = False) -> dict[Hashable, list[Hashable]]:
    """The states that each state with an edge leads to, one entry an edge.

    An edge whose mask has length 0 gives its state an entry without a neighbor.

    Args:
        edges: (u, v, mask).
        reverse: the states that lead to each state instead.
    """
    neighbours: dict[Hashable, list[Hashable]] = {}
    for source, target, mask in edges:
        near, far = (target, source) if reverse else (source, target)
        neighbours.setdefault(near, []).extend([far] if len(mask) else [])
    return neighbours


def edges2states(edges: Iterable[Edge]) -> set[Hashable]:
    """All states that an edge leaves or enters."""
    return {state for source, target, _ in edges for state in (source, target)}


def edges2dict(edges: Iterable[Edge]) -> dict[tuple[Hashable, Hashable], NDArray[np.bool_]]:
    """The mask of every pair of states; of the last edge where a pair has several."""
    return {(source, target): mask for source, target, mask in edges}
