"""The smallest automaton for a language: unreachable states dropped, equivalent ones merged.

Partition refinement (Hopcroft 1971) with the splitting done by hashes, many blocks at a time. A state has
the hash

    signature[s] = sum over its distinct next states t of weight(s, t) * mark[block[t]]   (modulo 2^64)

where the weight adds up random numbers of the classes that lead from s to t. The sum is linear, so when
blocks are split only the edges into their smaller parts are touched. Different signatures mean different
behaviour; that equal ones mean the same is verified on the table at the end: a collision costs another run,
never a wrong answer.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata import classes, paths
from ctrlg.automata.table import Automaton

A = TypeVar("A", bound=Automaton)


def minimize(dfa: A) -> A:
    """The smallest automaton for the same strings.

    States are numbered by their shortest, then smallest string and classes by their smallest token, so that
    automata for the same language become equal arrays.
    """
    class_of, delta = classes.join_equal(dfa.class_of, dfa.delta)
    reached = paths.breadth_first(delta, dfa.initial)
    number = np.zeros(len(delta), dtype=np.int32)
    number[reached] = np.arange(len(reached))
    delta, accepting = number[delta[reached]], dfa.accepting[reached]
    block = coarsest_partition(delta, accepting)
    representative = np.unique(block, return_index=True)[1]
    class_of, delta = classes.join_equal(class_of, block[delta[representative]])
    return type(dfa)(class_of, delta, 0, accepting[representative])


def coarsest_partition(delta: NDArray[np.int32], accepting: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Blocks int32 [S], numbered by their first state: states share one if they accept the same strings."""
    seed = 0
    while True:
        block = _refine(delta, accepting, np.random.default_rng(seed))
        _, first, block = np.unique(block, return_index=True, return_inverse=True)
        # Blocks are renumbered by their first states, so that equal automata get equal arrays.
        rank = np.empty(len(first), dtype=np.int32)
        rank[np.argsort(first)] = np.arange(len(first))
        representative = first[block]
        block = rank[block]
        # The check on the table, [S, K]: a state agrees with the first of its block in acceptance and, class by class,
        # in the block it leads to.
        if (accepting == accepting[representative]).all() and (block[delta] == block[delta[representative]]).all():
            return block
        seed += 1


def _refine(delta: NDArray[np.int32], accepting: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.int64]:
    """Blocks of states that no signature tells apart."""
    states = len(delta)
    source, target, weight = _weighted_edges(delta, random.integers(2**64, size=delta.shape[1], dtype=np.uint64))
    mark = random.integers(2**64, size=states, dtype=np.uint64)
    incoming, order = paths.group_by_target(source, target, states)
    # A mark for each state is enough: there are never more blocks.
    block = _by_distances(incoming, accepting)
    signature = np.zeros(states, dtype=np.uint64)
    np.add.at(signature, source, weight * mark[block[target]])
    weight = weight[order]
    size = np.zeros(states, dtype=np.int64)
    size[: block.max() + 1] = np.bincount(block)
    blocks = int(block.max()) + 1
    touched = np.arange(states)
    while True:
        # Each turn: states whose signature has changed (`touched`) are grouped within their blocks, all groups but the
        # largest leave as new blocks, and the states with edges into those that left are touched next. What leaves is
        # at most half of its block, so a state moves at most log2 S times (Hopcroft's smaller half).
        touched = touched[size[block[touched]] > 1]
        if not len(touched):
            return block
        touched = _with_small_rests(touched, block, size)
        moved, group = _leaving(touched, block, signature, size)
        left = block[moved]
        block[moved] = blocks + group
        blocks += int(group[-1]) + 1 if len(group) else 0
        np.subtract.at(size, left, 1)
        np.add.at(size, block[moved], 1)
        # signature += weight * (mark[new block] - mark[old block]) along the edges into states that moved, modulo 2^64;
        # `owner` says which of the moved states an edge enters.
        edges, owner = incoming.into(moved)
        touched = incoming.source[edges]
        np.add.at(signature, touched, weight[edges] * (mark[block[moved]] - mark[left])[owner])
        touched = paths.distinct(touched, states)


def _weighted_edges(
    delta: NDArray[np.int32], class_weight: NDArray[np.uint64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint64]]:
    """Distinct edges: source, target and the sum of the weights of the classes that lead along them."""
    states, width = delta.shape
    # target * K + class, sorted in each row: classes that lead to the same state lie side by side, [S, K] int64, and
    # reduceat adds up their weights.
    codes = np.sort(delta.astype(np.int64) * width + np.arange(width), axis=1)
    target = (codes // width).astype(np.int32)
    first = np.ones(target.shape, dtype=bool)
    np.not_equal(target[:, 1:], target[:, :-1], out=first[:, 1:])
    weight = np.add.reduceat(class_weight[codes % width].ravel(), np.flatnonzero(first))
    source = np.repeat(np.arange(states, dtype=np.int32), first.sum(axis=1))
    return source, target[first], weight


def _by_distances(incoming: paths.Incoming, accepting: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A first partition: states differ whose distances to acceptance or to rejection do."""
    # Equivalent states have equal distances, so the partition is not too fine; it spares most of the turns. Distances
    # are below 2^31: two fit into one int64.
    accepted = paths.distances(incoming, accepting).astype(np.int64)
    rejected = paths.distances(incoming, ~accepting).astype(np.int64)
    return np.unique((accepted << 31) + rejected, return_inverse=True)[1]


def _with_small_rests(
    touched: NDArray[np.integer], block: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.integer]:
    """`touched` states with all of their block where they are more than half of it."""
    # If more than half is touched, the rest is the smaller part and must be able to leave.
    blocks, inside = np.unique(block[touched], return_counts=True)
    crowded = blocks[(inside < size[blocks]) & (2 * inside > size[blocks])]
    if not len(crowded):
        return touched
    return np.union1d(touched, np.flatnonzero(np.isin(block, crowded)))


def _leaving(
    touched: NDArray[np.integer],
    block: NDArray[np.int64],
    signature: NDArray[np.uint64],
    size: NDArray[np.int64],
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """States that leave their block, and the number, from 0, of the group they leave in.

    States of one block and signature form a group. What is not touched stays; where all is, the largest does.
    """
    # Sorted by block, then signature: a group is a run of equal pairs.
    touched = touched[np.lexsort((signature[touched], block[touched]))]
    home, mark = block[touched], signature[touched]
    begins = np.ones(len(touched), dtype=bool)
    begins[1:] = (home[1:] != home[:-1]) | (mark[1:] != mark[:-1])
    start = np.flatnonzero(begins)
    members = np.diff(start, append=len(touched))
    home = home[start]
    # The groups of each block, its largest first. Where the groups make up the whole block that one stays; otherwise
    # the states that were not touched do.
    largest_first = np.lexsort((-members, home))
    first_of_home = np.unique(home[largest_first], return_index=True)[1]
    inside = np.add.reduceat(members[largest_first], first_of_home)
    whole = inside == size[home[largest_first[first_of_home]]]
    leaves = np.ones(len(start), dtype=bool)
    leaves[largest_first[first_of_home[whole]]] = False
    leaving = np.repeat(leaves, members)
    return touched[leaving], np.repeat(np.arange(leaves.sum()), members[leaves])
