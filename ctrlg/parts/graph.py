"""The core beside each alternative, as one graph: what a factored constraint is looked ahead in.

Nodes 0 .. S - 1 are the core's states; then, for each alternative, the pairs (state of the core, state of the
alternative) that some content reaches and from which both can still accept. Where an alternative accepts whatever
follows, the pair is the core's state itself. The last node is dead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.dfa import DFA
from ctrlg.automata.paths import UNREACHABLE, distances, group_by_target
from ctrlg.parts.factored import Factored, reached_pairs
from ctrlg.parts.nfa import NFA


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes, and the edges between them on each class of tokens.

    Args:
        factored: the automata.
        delta: int32 [N, K], the node after a class.
        entered_with: for a node the further nodes that are entered with it, in the order of the nodes that have any.
        accepting: bool [N]; core and alternative both accept.
        satisfied: bool [N]; the alternative accepts; all of the core's nodes.
        node_of: for each alternative int32 [S, S_i], the node of a pair of states.
        starts: of the core and each alternative, the nodes before the first token.
    """

    factored: Factored
    delta: NDArray[np.int32]
    entered_with: dict[int, tuple[int, ...]]
    accepting: NDArray[np.bool_]
    satisfied: NDArray[np.bool_]
    node_of: tuple[NDArray[np.int32], ...]
    starts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, factored: Factored) -> Graph:
        """All nodes that some content reaches."""
        core = factored.core
        dead_core = core.distances() == UNREACHABLE
        tables: list[NDArray[np.integer]] = [core.delta.astype(np.int64)]
        accepting, satisfied = [core.accepting], [np.ones(core.num_states, dtype=bool)]
        node_of: list[NDArray[np.int64]] = []
        entered_with: dict[int, tuple[int, ...]] = {}
        count = core.num_states
        for automaton in factored.alternatives:
            found = _Pairs(core, automaton, dead_core, count)
            tables.append(found.delta)
            accepting.append(found.accepting)
            satisfied.append(found.satisfied)
            node_of.append(found.node_of)
            entered_with |= found.entered_with
            count += len(found.delta)
        starts: list[tuple[int, ...]] = [(core.initial,)]
        for automaton, nodes in zip(factored.alternatives, node_of, strict=True):
            starts.append(tuple(int(nodes[core.initial, state]) for state in automaton.start()))
        delta = np.concatenate([*tables, np.full((1, core.num_classes), -1)])
        delta[delta < 0] = count
        dead = np.array([False])
        return cls(
            factored,
            delta.astype(np.int32),
            entered_with,
            np.concatenate([*accepting, dead]),
            np.concatenate([*satisfied, dead]),
            tuple(np.where(nodes < 0, count, nodes).astype(np.int32) for nodes in node_of),
            tuple(tuple(count if node < 0 else node for node in nodes) for nodes in starts),
        )

    @property
    def num_nodes(self) -> int:
        """N, the dead node included."""
        return len(self.delta)

    @property
    def dead(self) -> int:
        return self.num_nodes - 1

    def distances(self, goal: NDArray[np.bool_], classes: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Fewest tokens from every node to a goal.

        Args:
            goal: bool [N].
            classes: bool [K]; only tokens of these are taken.

        Returns:
            int32 [N]; UNREACHABLE where there is no way.
        """
        source, target = self._edges(classes)
        return distances(group_by_target(source, target, self.num_nodes)[0], goal)

    def _edges(self, classes: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Distinct edges (source, target) over some classes, those into nodes entered with a target among them."""
        some = np.sort(self.delta[:, classes], axis=1)
        first = np.ones(some.shape, dtype=bool)
        np.not_equal(some[:, 1:], some[:, :-1], out=first[:, 1:])
        source = np.repeat(np.arange(self.num_nodes, dtype=np.int32), first.sum(axis=1))
        target = some[first]
        if not self.entered_with:
            return source, target
        more = [
            (np.full(int((target == node).sum()), other, np.int32), source[target == node])
            for node, others in self.entered_with.items()
            for other in others
        ]
        return (
            np.concatenate([source, *(sources for _, sources in more)]),
            np.concatenate([target, *(targets for targets, _ in more)]),
        )

    @cached_property
    def several(self) -> tuple[bool, ...]:
        """For each alternative whether it may be in several states at once."""
        return tuple(len(one.initial) > 1 or any(one.entered_with) for one in self.factored.alternatives)


class _Pairs:
    """The pairs of the core's states and those of one alternative. Nodes are numbered from `first` on; -1 is dead."""

    def __init__(self, core: DFA, automaton: NFA, dead_core: NDArray[np.bool_], first: int) -> None:
        width = automaton.num_states
        codes = reached_pairs(core, automaton)
        states, own = codes // width, codes % width
        pair_delta = core.delta[states].astype(np.int64) * width + automaton.delta[own]
        after_core, after_own = pair_delta // width, pair_delta % width
        place = np.full(core.num_states * width, -1, dtype=np.int64)
        place[codes] = first + np.arange(len(codes))
        # Where the alternative has settled, only the core counts.
        everywhere = np.arange(core.num_states * width)
        done = automaton.settled[everywhere % width] & ~dead_core[everywhere // width]
        place[done] = (everywhere // width)[done]
        self.node_of = place.reshape(core.num_states, width)
        self.delta = place[after_core * width + after_own]
        self.accepting = core.accepting[states] & automaton.accepting[own]
        self.satisfied = automaton.accepting[own]
        self.entered_with: dict[int, tuple[int, ...]] = {}
        several = [state for state, others in enumerate(automaton.together) if len(others) > 1]
        for code in np.flatnonzero(np.isin(everywhere % width, several) & (place >= 0)).tolist():
            others = automaton.together[code % width]
            nodes = [int(place[code - code % width + other]) for other in others if other != code % width]
            self.entered_with[int(place[code])] = tuple(node for node in nodes if node >= 0)
