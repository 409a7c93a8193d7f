"""Ctrl-G's names on its dictionaries of edges: algebra, builders and the model that decoding takes.

Every function takes graphs (see `ctrlg.automata.graph_conversion`), `DFA`s or `DFAModel`s and gives back
graphs, whose states are numbered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from ctrlg.automata import algebra
from ctrlg.automata.concatenation import concatenate
from ctrlg.automata.dfa import DFA
from ctrlg.automata.graph_builders import (
    AhoCorasickBuilder,
    EOSBuilder,
    KMPBuilder,
    TrivialBuilder,
    WordCountBuilder,
)
from ctrlg.automata.graph_conversion import Graph, as_dfa, as_graph
from ctrlg.errors import ConstraintError


def DFA_prod(
    dfa_graphs: Sequence[Any],
    mode: Literal["intersection", "union"] = "intersection",
    vocab_size: int | None = None,
) -> Graph:
    """Strings that all graphs accept, or (`mode="union"`) at least one; minimised.

    vocab_size: needed only for an empty list, whose intersection is all strings and whose union is none.
    ArgumentError for another mode; ConstraintError for an empty list without vocab_size; VocabularyError and
    BudgetError as in `ctrlg.automata.product`.
    """
    dfas = [as_dfa(graph, vocab_size) for graph in dfa_graphs]
    return as_graph(algebra.product(dfas, mode, vocab_size=vocab_size).minimize())


def DFA_concatenate(dfa_graphs: Sequence[Any], vocab_size: int | None = None) -> Graph:
    """Strings made of one that the first graph accepts, then one of the second, and so on; minimised.

    vocab_size: needed only for an empty list, which accepts the empty string alone.
    ConstraintError for an empty list without vocab_size; VocabularyError, BudgetError as in `DFA.then`.
    """
    if not dfa_graphs:
        if vocab_size is None:
            raise ConstraintError(
                "an empty concatenation does not know its vocabulary",
                hint="pass at least one graph, or vocab_size",
            )
        return as_graph(algebra.empty_string(vocab_size))
    parts = [as_dfa(graph, vocab_size) for graph in dfa_graphs]
    while len(parts) > 1:  # neighbours in pairs, so that few concatenations are of large automata
        pairs = [concatenate(first, second) for first, second in zip(parts[::2], parts[1::2], strict=False)]
        parts = [*pairs, *parts[2 * len(pairs) :]]
    return as_graph(parts[0].minimize())


def DFA_negate(A: Any) -> Graph:
    """Strings the graph does not accept, those that leave an incomplete graph among them."""
    return as_graph(~as_dfa(A))


def DFA_minimize(A: Any) -> Graph:
    """The smallest complete graph for the same strings."""
    return as_graph(as_dfa(A).minimize())


def DFA_size(A: Any) -> tuple[int, int]:
    """Numbers of states and of edges of a graph, as it is written down."""
    graph = as_graph(as_dfa(A)) if isinstance(A, (DFA, DFAModel)) else A
    states = {graph["initial_state"], *graph["accept_states"]}
    for source, target, _ in graph["edges"]:
        states |= {source, target}
    return len(states), len(graph["edges"])


class DFAModel(nn.Module):
    """What decoding takes: an automaton in the shape of a module; it holds no parameters.

    dfa_graph: a graph, which is minimised (its states are renumbered), or a `DFA`, taken as it is.
    Errors as in `as_dfa`.
    """

    def __init__(self, dfa_graph: Any, vocab_size: int) -> None:
        super().__init__()
        dfa = as_dfa(dfa_graph, vocab_size)
        self.dfa = dfa if isinstance(dfa_graph, (DFA, DFAModel)) else dfa.minimize()

    @property
    def num_states(self) -> int:
        return self.dfa.num_states

    @property
    def initial_state(self) -> int:
        return self.dfa.initial

    @property
    def accept_states(self) -> set[int]:
        return set(self.dfa.accepting.nonzero()[0].tolist())

    def next_state(self, state: int, token: int) -> int:
        """The state after one token. ConstraintError, VocabularyError for a state or token out of range."""
        return self.dfa.step(state, token)

    def is_accept(self, state: int) -> bool:
        """Whether a string may end in this state; False for a number that is no state."""
        return 0 <= state < self.num_states and bool(self.dfa.accepting[state])


__all__ = [
    "AhoCorasickBuilder",
    "DFAModel",
    "DFA_concatenate",
    "DFA_minimize",
    "DFA_negate",
    "DFA_prod",
    "DFA_size",
    "EOSBuilder",
    "Graph",
    "KMPBuilder",
    "TrivialBuilder",
    "WordCountBuilder",
    "as_dfa",
    "as_graph",
]
