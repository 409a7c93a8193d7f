"""Ctrl-G's algebra on its dictionaries of edges.

Every function takes graphs (see `ctrlg.automata.graph_conversion`), `DFA`s or `DFAModel`s, leaves them as they are,
and returns a new graph. Where it says so the states keep their names; otherwise they are numbered.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ctrlg.arguments import VocabularySize, checked
from ctrlg.automata import algebra
from ctrlg.automata.concatenation import concatenate
from ctrlg.automata.dfa import DFA
from ctrlg.automata.graph_conversion import Edge, Graph, as_dfa
from ctrlg.compat.edge_lists import edges2G, edges2states
from ctrlg.errors import ArgumentError, BudgetError

_MAX_EDGES = 2**22  # about 1 GB of tuples
_MAX_MASK_BYTES = 2**30
DEAD_STATE = -1  # Ctrl-G's name for the state that `DFA_merge_dead_states` adds


def as_graph(dfa: DFA) -> Graph:
    """The dictionary of an automaton: states are numbered, every token has an edge; masks are read-only.

    Args:
        dfa: the automaton.

    Raises:
        BudgetError: its edges, or their masks of a byte for every token, take too much memory.
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


@checked
def DFA_prod(
    dfa_graphs: Sequence[Any],
    mode: Literal["intersection", "union"] = "intersection",
    vocab_size: VocabularySize | None = None,
) -> Graph | list[Any]:
    """Strings that all graphs accept, or at least one; minimized.

    Args:
        dfa_graphs: graphs or automata. An empty list gives `[]`, as in Ctrl-G; with `vocab_size`, the graph of all
            strings, or (union) of none.
        mode: "intersection" or "union".
        vocab_size: V.

    Raises:
        ArgumentError: another mode.
        VocabularyError, BudgetError: as `ctrlg.automata.product`.
    """
    if not dfa_graphs and vocab_size is None:
        return []
    dfas = [as_dfa(graph, vocab_size) for graph in dfa_graphs]
    return as_graph(algebra.product(dfas, mode, vocab_size=vocab_size).minimize())


@checked
def DFA_prod_binary(A: Any, B: Any, mode: Literal["intersection", "union"] = "intersection") -> Graph:
    """`DFA_prod` of two graphs."""
    return as_graph(algebra.product([as_dfa(A), as_dfa(B)], mode).minimize())


@checked
def DFA_concatenate(dfa_graphs: Sequence[Any], vocab_size: VocabularySize | None = None) -> Graph | list[Any]:
    """Strings made of one that the first graph accepts, then one of the second, and so on; minimized.

    Args:
        dfa_graphs: graphs or automata. An empty list gives `[]`, as in Ctrl-G; with `vocab_size`, the graph of the
            empty string.
        vocab_size: V.

    Raises:
        VocabularyError, BudgetError: as `DFA.then`.
    """
    if not dfa_graphs:
        return [] if vocab_size is None else as_graph(algebra.empty_string(vocab_size))
    parts = [as_dfa(graph, vocab_size) for graph in dfa_graphs]
    while len(parts) > 1:  # neighbors in pairs, so that few concatenations are of large automata
        pairs = [concatenate(first, second) for first, second in zip(parts[::2], parts[1::2], strict=False)]
        parts = [*pairs, *parts[2 * len(pairs) :]]
    return as_graph(parts[0].minimize())


@checked
def DFA_concatenate_binary(A: Any, B: Any) -> Graph:
    """`DFA_concatenate` of two graphs."""
    return as_graph(concatenate(as_dfa(A), as_dfa(B)).minimize())


@checked
def DFA_negate(A: Any) -> Graph:
    """Strings the graph does not accept, those that leave an incomplete graph among them."""
    return as_graph(~as_dfa(A))


@checked
def DFA_minimize(A: Any) -> Graph:
    """The smallest complete graph for the same strings."""
    return as_graph(as_dfa(A).minimize())


@checked
def DFA_merge_undistinguishable_states(A: Any, device: str = "cpu") -> Graph:
    """One state for all that accept the same strings: `DFA_minimize`, which also drops unreachable states.

    device: unused, as in Ctrl-G.
    """
    return DFA_minimize(A)


@checked
def DFA_remove_unreachable_states(A: Any) -> Graph:
    """The graph without the states that no string reaches. The others keep their names."""
    graph = _written(A)
    reached = _closure(edges2G(graph["edges"]), [graph["initial_state"]])
    return {
        "edges": [edge for edge in graph["edges"] if edge[0] in reached and edge[1] in reached],
        "initial_state": graph["initial_state"],
        "accept_states": reached & set(graph["accept_states"]),
    }


@checked
def DFA_merge_dead_states(A: Any) -> Graph:
    """One state, named -1, for all from which nothing is accepted. The others keep their names.

    Where the initial state is dead, it becomes -1 too. ArgumentError for a graph without edges, and for one in which
    -1 names a state that is not dead.
    """
    graph = _written(A)
    edges = graph["edges"]
    if not edges:
        raise ArgumentError("the graph has no edges", hint="its vocabulary is not known then")
    alive = _closure(edges2G(edges, reverse=True), graph["accept_states"])
    if DEAD_STATE in alive:
        raise ArgumentError(f"a state from which strings are accepted is named {DEAD_STATE}", hint="rename it")
    into_dead: dict[Hashable, NDArray[np.bool_]] = {DEAD_STATE: np.ones(len(edges[0][2]), dtype=bool)}
    kept: list[Edge] = []
    for source, target, mask in edges:
        if source in alive and target in alive:
            kept.append((source, target, mask))
        elif source in alive:
            into_dead[source] = into_dead[source] | mask if source in into_dead else mask
    initial = graph["initial_state"]
    return {
        "edges": [*kept, *((source, DEAD_STATE, mask) for source, mask in into_dead.items())],
        "initial_state": initial if initial in alive else DEAD_STATE,
        "accept_states": set(graph["accept_states"]),
    }


@checked
def DFA_size(A: Any) -> tuple[int, int]:
    """Numbers of states and of edges of a graph, as it is written down."""
    graph = _written(A)
    states = {graph["initial_state"], *graph["accept_states"], *edges2states(graph["edges"])}
    return len(states), len(graph["edges"])


def _written(A: Any) -> Graph:
    """The graph itself; an automaton or a model is written down. ConstraintError for anything else."""
    if isinstance(A, Mapping) and A.keys() >= {"edges", "initial_state", "accept_states"}:
        return cast(Graph, A)
    return as_graph(as_dfa(A))


def _closure(successors: Mapping[Hashable, Collection[Hashable]], start: Collection[Hashable]) -> set[Hashable]:
    """All that can be reached from `start`, itself included."""
    reached = set(start)
    waiting = list(reached)
    while waiting:
        new = set(successors.get(waiting.pop(), ())) - reached
        reached |= new
        waiting += new
    return reached
