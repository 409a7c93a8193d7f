"""A DFA as decoding walks it: end-of-text taken out of the content, and edges instead of classes.

Two token classes that lead from `d` to the same `d'` do the same work in a look-ahead step, so they are one
*edge* whose emission mass is the sum over a set of classes. Many edges of a DFA share their set ("everything
but the keywords"), so the sets are kept once:

    B[d, h] = sum over edges (d -> d') of mass[set(d -> d'), h] * C[d', h]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from ctrlg.automata.dfa import DFA

MAX_CLASS_SETS = 8192  # beyond, their masses take too much memory and an edge is made for every class instead


class HasClasses(Protocol):
    """What sorts tokens into classes.

    Attributes:
        class_of: int32 [V], values in [0, K]; K for the end-of-text token.
    """

    @property
    def class_of(self) -> np.ndarray: ...


class Followed(HasClasses, Protocol):
    """An automaton as sequences follow it, whatever it is made of: a state is a number.

    Attributes:
        initial: the state before the first content token.
    """

    @property
    def initial(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def num_classes(self) -> int: ...
    def advance(self, states: np.ndarray, tokens: np.ndarray) -> np.ndarray: ...
    def accepts(self, states: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class ContentAutomaton:
    """The content's DFA; K classes and one more, the last, that holds tokens which are never content.

    Attributes:
        class_of: int32 [V], values in [0, K]; K for the end-of-text token.
        delta: int32 [S, K].
        usable: bool [K]; classes with at least one content token.
        initial: the state before the first content token.
        accepting: bool [S].
        edge_start: int64 [S + 1]; the edges of state d are edge_start[d] .. edge_start[d + 1].
        edge_target: int32 [E]; the state an edge leads to, ascending within a state.
        edge_set: int32 [E]; which set of classes leads there.
        edge_of: int32 [S, K]; edge taken from a state on a class, counted from the state's first; -1 where the class is
            not usable.
        class_sets: bool [M, K]; the distinct sets of classes.
    """

    class_of: np.ndarray
    delta: np.ndarray
    usable: np.ndarray
    initial: int
    accepting: np.ndarray
    edge_start: np.ndarray
    edge_target: np.ndarray
    edge_set: np.ndarray
    edge_of: np.ndarray
    class_sets: np.ndarray

    @property
    def vocab_size(self) -> int:
        return len(self.class_of)

    @property
    def num_states(self) -> int:
        return self.delta.shape[0]

    @property
    def num_classes(self) -> int:
        """K: the classes of content tokens, without the last one."""
        return self.delta.shape[1]

    def advance(self, states: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The states after one content token each, [n]; tokens in [0, V), none of them end-of-text."""
        return self.delta[states, self.class_of[tokens]]

    def accepts(self, states: np.ndarray) -> np.ndarray:
        """Which states a content may end in, bool [n]."""
        return self.accepting[states]


def content_automaton(dfa: DFA, eos_token_id: int, max_class_sets: int = MAX_CLASS_SETS) -> ContentAutomaton:
    """`dfa` with the end-of-text token taken out of the content, and its edges.

    Args:
        dfa: the automaton of the content.
        eos_token_id: in [0, V).
        max_class_sets: with more distinct sets of classes an edge is made for every class instead.
    """
    num_classes = dfa.num_classes
    # A class of its own, without a column in delta: end of text is no content whatever the automaton says.
    class_of = np.array(dfa.class_of, dtype=np.int32)
    class_of[eos_token_id] = num_classes
    # A class without any token but end-of-text would make an edge that nothing takes.
    usable = np.bincount(class_of, minlength=num_classes + 1)[:num_classes] > 0
    start, target, edge_of = _edges(dfa.delta, usable)
    # edge_of counts from a state's first edge; with that added, edges have numbers of their own.
    edge_set, class_sets = _class_sets(edge_of + start[:-1, None], usable, len(target))
    if len(class_sets) > max_class_sets:
        start, target, edge_of, edge_set, class_sets = _edge_per_class(dfa.delta, usable)
    return ContentAutomaton(
        class_of=class_of,
        delta=dfa.delta,
        usable=usable,
        initial=int(dfa.initial),
        accepting=dfa.accepting,
        edge_start=start,
        edge_target=target,
        edge_set=edge_set,
        edge_of=np.where(usable, edge_of, -1).astype(np.int32),
        class_sets=class_sets,
    )


class LiveEdges(NamedTuple):
    """The edges that leave some states (n of them, repeats allowed) for live ones, E in all.

    Attributes:
        source: int64 [E]; position of the state the edge leaves, ascending.
        start: int64 [n + 1]; where the edges of each position begin.
        target: int32 [E]; the number of the live state it reaches.
        mass: int32 [E]; its set of classes.
        of_class: int32 [n, K + 1]; the edge taken on each class, -1 where that is none of these.
    """

    source: np.ndarray
    start: np.ndarray
    target: np.ndarray
    mass: np.ndarray
    of_class: np.ndarray


def live_edges(automaton: ContentAutomaton, states: np.ndarray, row_of: np.ndarray) -> LiveEdges:
    """The edges of some states into live ones.

    Args:
        automaton: the content's.
        states: int [n].
        row_of: int [S], the number of each live state, negative for the others.
    """
    from ctrlg.look_ahead import edge_loops

    arrays = (automaton.edge_start, automaton.edge_target, automaton.edge_set, automaton.edge_of)
    return LiveEdges(*edge_loops.live_edges(*arrays, states, row_of))


def _edges(delta: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct (state, next state) pairs over usable classes: edge_start, edge_target, edge_of (0 for an
    unusable class)."""
    num_states, num_classes = delta.shape
    columns = np.flatnonzero(usable)
    # (state, next state) as one number, state * S + next state, so that sorting puts the edges of a state side by side
    # with ascending targets.
    pairs = np.arange(num_states, dtype=np.int64)[:, None] * num_states + delta[:, columns]
    distinct, inverse = np.unique(pairs, return_inverse=True)
    start = np.searchsorted(distinct, np.arange(num_states + 1, dtype=np.int64) * num_states)
    edge_of = np.zeros((num_states, num_classes), dtype=np.int64)
    # np.unique says which distinct pair each (state, class) is; less the state's first edge, that is the number of the
    # edge within its state.
    edge_of[:, columns] = inverse.reshape(num_states, len(columns)) - start[:-1, None]
    return start, (distinct % num_states).astype(np.int32), edge_of


def _class_sets(edges: np.ndarray, usable: np.ndarray, num_edges: int) -> tuple[np.ndarray, np.ndarray]:
    """Which distinct set of classes each edge stands for (int32 [E]), and the sets (bool [M, K]).

    edges: int64 [S, K]; the edge of each state and class. A set is known by the sum of 64-bit words sampled for
        its classes.
    """
    columns = np.flatnonzero(usable)
    words = np.random.default_rng(0).integers(0, 2**64, size=len(usable), dtype=np.uint64)
    # The sets themselves would be bool [E, K]. Equal sets have equal sums; that two different ones agree by chance has
    # a probability of about E^2 / 2^65.
    sums = np.zeros(num_edges, dtype=np.uint64)
    a_state = np.zeros(num_edges, dtype=np.int64)
    for column in columns:
        sums[edges[:, column]] += words[column]  # the edges of one column are distinct: one per state
        a_state[edges[:, column]] = np.arange(len(edges))
    _, first, edge_set = np.unique(sums, return_index=True, return_inverse=True)
    # One edge speaks for each set: its classes are those on which its state takes just this edge.
    class_sets = (edges[a_state[first]] == first[:, None]) & usable
    return edge_set.reshape(-1).astype(np.int32), class_sets


def _edge_per_class(delta: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, ...]:
    """One edge for every state and usable class: edge_start, edge_target, edge_of, edge_set, class_sets."""
    num_states, num_classes = delta.shape
    columns = np.flatnonzero(usable)
    edge_of = np.zeros((num_states, num_classes), dtype=np.int64)
    edge_of[:, columns] = np.arange(len(columns))
    start = np.arange(num_states + 1, dtype=np.int64) * len(columns)
    edge_set = np.tile(np.arange(len(columns), dtype=np.int32), num_states)
    class_sets = np.zeros((len(columns), num_classes), dtype=bool)
    class_sets[np.arange(len(columns)), columns] = True
    return start, np.ascontiguousarray(delta[:, columns]).reshape(-1), edge_of, edge_set, class_sets
