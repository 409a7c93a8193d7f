"""From dictionaries of edges, as Ctrl-G's programs build them, to automata over token classes.

A graph is `{"edges": [(u, v, mask), ...], "initial_state": u, "accept_states": {...}}`: states are any hashable
values, `mask` is a bool array [V] of the tokens that lead from u to v. It may be incomplete; a token without
an edge leads to a dead state.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Any, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata import algebra, classes
from ctrlg.automata.dfa import DFA
from ctrlg.errors import ConstraintError, VocabularyError

Edge = tuple[Hashable, Hashable, NDArray[np.bool_]]


class Graph(TypedDict):
    """Ctrl-G's dictionary, see the module."""

    edges: Sequence[Edge]
    initial_state: Hashable
    accept_states: Collection[Hashable]


class HoldsDFA(Protocol):
    """An object around an automaton, such as Ctrl-G's `DFAModel`."""

    @property
    def dfa(self) -> DFA: ...


def as_dfa(graph: Any, vocab_size: int | None = None) -> DFA:
    """The automaton of a graph, of an object that holds one as its attribute `dfa`, or the `DFA` itself.

    Args:
        graph: Ctrl-G's dictionary `{"edges": [(u, v, mask), ...], "initial_state": u, "accept_states": {...}}`, masks
            bool [V]; an object with an attribute `dfa`; or a DFA.
        vocab_size: needed for a graph without edges; otherwise checked.

    Raises:
        ConstraintError: what is no graph, a token with edges to two states, and a graph without edges and vocab_size.
        VocabularyError: sizes differ.
    """
    dfa = getattr(graph, "dfa", graph)
    if isinstance(dfa, DFA):
        if vocab_size is not None:
            algebra.require_vocabulary(dfa, vocab_size)
        return dfa
    try:
        edges = [(source, target, np.asarray(mask)) for source, target, mask in graph["edges"]]
        start, accepted = graph["initial_state"], set(graph["accept_states"])
        states = [start, *(state for edge in edges for state in edge[:2]), *accepted]
        number = {state: place for place, state in enumerate(dict.fromkeys(states))}
    except (TypeError, KeyError, ValueError, IndexError):
        raise ConstraintError(
            f"{type(graph).__name__} is neither an automaton nor a graph of edges",
            hint="a graph is {'edges': [(u, v, mask), ...], 'initial_state': u, 'accept_states': {...}}",
        ) from None
    size = _vocab_size(edges, vocab_size)
    class_of, representative = _token_classes((mask for _, _, mask in edges), size)
    delta = _table(edges, number, representative)
    accepting = np.zeros(len(delta), dtype=bool)
    accepting[[number[state] for state in accepted]] = True
    return DFA(class_of, delta, 0, accepting)


def _vocab_size(edges: Sequence[Edge], vocab_size: int | None) -> int:
    if vocab_size is None and not edges:
        raise ConstraintError("a graph without edges does not know its vocabulary", hint="pass vocab_size")
    size = len(edges[0][2]) if vocab_size is None else vocab_size
    for source, target, mask in edges:
        if mask.dtype != np.bool_ or mask.ndim != 1:
            raise ConstraintError(
                f"the tokens from {source!r} to {target!r} are {mask.dtype} {list(mask.shape)}",
                hint="pass a bool for every token",
            )
        if len(mask) != size:
            raise VocabularyError(
                f"the edge from {source!r} to {target!r} has {len(mask)} tokens, the vocabulary {size}",
                hint="build all graphs with the vocab_size of the HMM",
            )
    return size


def _token_classes(masks: Iterable[NDArray[np.bool_]], vocab_size: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Classes of tokens that are in the same masks: that of every token, and the smallest token of each."""
    distinct = {np.packbits(mask).tobytes(): mask for mask in {id(mask): mask for mask in masks}.values()}
    rows = list(distinct.values())
    class_of = np.zeros(vocab_size, dtype=np.int32)
    count = 1
    for begin in range(0, len(rows), 8):
        eight = np.packbits(np.stack(rows[begin : begin + 8]), axis=0)[0]
        class_of, pairs, _ = classes.joint(class_of, eight, count, 256)
        count = len(pairs)
    return class_of, classes.first_tokens(class_of, count)


def _table(edges: Sequence[Edge], number: dict[Hashable, int], representative: NDArray[np.int64]) -> NDArray[np.int32]:
    """The transitions between numbered states, with a dead state at the end where some are missing."""
    delta = np.full((len(number), len(representative)), -1, dtype=np.int32)
    for source, target, mask in edges:
        row = delta[number[source]]
        along = mask[representative]
        clash = along & (row >= 0) & (row != number[target])
        if clash.any():
            token = int(representative[np.argmax(clash)])
            other = list(number)[row[np.argmax(clash)]]
            raise ConstraintError(
                f"token {token} leads from state {source!r} to both {other!r} and {target!r}",
                hint="the edges of a state must not share tokens",
            )
        row[along] = number[target]
    if (delta < 0).any():
        dead = len(delta)
        delta = np.concatenate([delta, np.full((1, delta.shape[1]), dead, dtype=np.int32)])
        delta[delta < 0] = dead
    return delta
