"""`DFAModel`: an automaton in the shape of Ctrl-G's module, with the masks its decoder multiplied by."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ctrlg.arguments import VocabularySize, checked, whole
from ctrlg.automata.dfa import DFA
from ctrlg.automata.graph_conversion import as_dfa
from ctrlg.compat.graphs import as_graph


class DFAModel(nn.Module):
    """An automaton of S states, E edges and V tokens as decoding takes it; all edges from u to v are one.

    The automaton is complete: tokens without an edge in the graph lead to a state of their own from which nothing is
    accepted. The decoder reads `dfa` alone. `VE_mask` .. `E2Dst` are there for programs written against Ctrl-G: they
    are made when first read (`T_mask` takes 4 E V bytes), and have the device and the floating-point type that `to`
    set.

    Args:
        dfa_graph: a graph, which is minimized (its states are renumbered), or a `DFA`, taken as it is.
        vocab_size: V.

    Raises:
        ConstraintError, VocabularyError: as `ctrlg.automata.as_dfa`.
    """

    _placement: Tensor

    @checked
    def __init__(self, dfa_graph: Any, vocab_size: VocabularySize) -> None:
        super().__init__()
        dfa = as_dfa(dfa_graph, vocab_size)
        self.dfa = dfa if isinstance(getattr(dfa_graph, "dfa", dfa_graph), DFA) else dfa.minimize()
        # Follows `to`, so that masks which are not there yet know where they belong.
        self.register_buffer("_placement", torch.zeros(()), persistent=False)
        self._masks: dict[str, Tensor] = {}

    @property
    def num_states(self) -> int:
        return self.dfa.num_states

    @property
    def initial_state(self) -> int:
        return self.dfa.initial

    @property
    def accept_states(self) -> set[int]:
        return set(self.dfa.accepting.nonzero()[0].tolist())

    @property
    def G(self) -> dict[int, list[tuple[int, NDArray[np.bool_]]]]:
        """For every state, the states it leads to, each with the bool [V] of the tokens that do."""
        following: dict[int, list[tuple[int, NDArray[np.bool_]]]] = {}
        for source, target, mask in as_graph(self.dfa)["edges"]:
            following.setdefault(source, []).append((target, mask))  # type: ignore[arg-type]
        return following

    @property
    def VE_mask(self) -> Tensor:
        """1 where an edge leaves a state, [S, E]."""
        return self._mask("VE_mask")

    @property
    def EV_mask(self) -> Tensor:
        """1 where an edge enters a state, [E, S]."""
        return self._mask("EV_mask")

    @property
    def T_mask(self) -> Tensor:
        """1 where a token leads along an edge, [E, V]."""
        return self._mask("T_mask")

    @property
    def E2Src(self) -> Tensor:
        """The state that an edge leaves, int64 [E]."""
        return self._mask("E2Src")

    @property
    def E2Dst(self) -> Tensor:
        """The state that an edge enters, int64 [E]."""
        return self._mask("E2Dst")

    def next_state(self, state: int, token: int) -> int:
        """The state after one token. ConstraintError, VocabularyError for a state or token out of range."""
        return self.dfa.step(state, token)

    def is_accept(self, state: int) -> bool:
        """Whether a string may end in this state; False for a number that is no state."""
        return 0 <= whole("state", state) < self.num_states and bool(self.dfa.accepting[state])

    def _mask(self, name: str) -> Tensor:
        """A mask where the module is now; all are made together, and moved when they are read elsewhere."""
        if not self._masks:
            self._masks = _masks(self.dfa)
        mask, place = self._masks[name], self._placement
        dtype = place.dtype if mask.is_floating_point() else mask.dtype
        self._masks[name] = mask.to(place.device, dtype)
        return self._masks[name]


def _masks(dfa: DFA) -> dict[str, Tensor]:
    edges = as_graph(dfa)["edges"]
    source, target = (torch.tensor([edge[end] for edge in edges]) for end in (0, 1))
    return {
        "VE_mask": nn.functional.one_hot(source, dfa.num_states).T.float(),
        "EV_mask": nn.functional.one_hot(target, dfa.num_states).float(),
        "T_mask": torch.from_numpy(np.stack([mask for _, _, mask in edges])).float(),
        "E2Src": source,
        "E2Dst": target,
    }
