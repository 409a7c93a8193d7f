"""Between Ctrl-G's dictionaries of edges and automata over token classes.

A graph is `{"edges": [(u, v, mask), ...], "initial_state": u, "accept_states": {...}}`: states are any hashable
values, `mask` is a bool array [V] of the tokens that lead from u to v. It may be incomplete; a token without
an edge leads to a dead state.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata import algebra, classes
from ctrlg.automata.dfa import DFA
from ctrlg.errors import BudgetError, ConstraintError, VocabularyError

_MAX_EDGES = 2**22  # about 1 GB of tuples
_MAX_MASK_BYTES = 2**30

Edge = tuple[Hashable, Hashable, NDArray[np.bool_]]


class Graph(TypedDict):
    """Ctrl-G's dictionary, see the module."""

    edges: Sequence[Edge]
    initial_state: Hashable
    accept_states: Collection[Hashable]


def as_dfa(graph: Any, vocab_size: int | None = None) -> DFA:
    """The automaton of a graph, of a `DFAModel`, or the `DFA` itself.

    vocab_size: needed for a graph without edges; otherwise checked.
    ConstraintError for what is no graph, for a token with edges to two states, and for a graph without edges
    and vocab_size. VocabularyError where sizes differ.
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


def as_graph(dfa: DFA) -> Graph:
    """The dictionary of an automaton: states are numbered, every token has an edge; masks are read-only.

    BudgetError where its edges, or their masks of a byte for every token, take too much memory.
    """
    ordered = np.sort(dfa.delta, axis=1)
    count = len(ordered) + int((ordered[:, 1:] != ordered[:, :-1]).sum())
    if count > _MAX_EDGES:
        raise _too_large(dfa, f"{count:,} edges, the limit is {_MAX_EDGES:,}")
    edges: list[Edge] = []
    masks: dict[bytes, NDArray[np.bool_]] = {}
    for state, row in enumerate(dfa.delta):
        for target in np.unique(row).tolist():
            along = row == target
            key = along.tobytes()
            if key not in masks:
                masks[key] = along[dfa.class_of]
                masks[key].setflags(write=False)
                if len(masks) * dfa.vocab_size > _MAX_MASK_BYTES:
                    raise _too_large(dfa, f"masks of more than {len(masks) * dfa.vocab_size // 10**6:,} MB")
            edges.append((state, target, masks[key]))
    accepted = set(np.flatnonzero(dfa.accepting).tolist())
    return {"edges": edges, "initial_state": dfa.initial, "accept_states": accepted}


def _too_large(dfa: DFA, why: str) -> BudgetError:
    return BudgetError(
        f"{dfa!r} is too large for a dictionary: {why}",
        hint="keep it as a DFA (ctrlg.automata.contains, product), which needs no edges, or use fewer patterns",
    )


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
