"""What HMMs have in common that hold their distributions as matrices, however these are stored."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.matrices import StochasticMatrix

M = TypeVar("M", bound=StochasticMatrix)


class MatrixHMM(Generic[M]):
    """Sizes and place of an HMM that is made of matrices.

    transition: [H, H]. emission: [H, V]. initial: float [H]. eos_token_id: the token that ends a text.
    """

    transition: M
    emission: M
    initial: Tensor
    eos_token_id: int

    @property
    def hidden_states(self) -> int:
        """H."""
        return self.emission.shape[0]

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.emission.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the matrices live."""
        return self.emission.device

    @property
    def nbytes(self) -> int:
        """Bytes of memory while it runs."""
        return self.transition.nbytes + self.emission.nbytes + self.initial.nbytes

    def check_parts(self) -> None:
        """Raise ArgumentError for parts that do not fit together."""
        states, vocabulary = self.emission.shape
        if self.transition.shape != (states, states) or tuple(self.initial.shape) != (states,):
            raise ArgumentError(
                f"transition {self.transition.shape}, emission {self.emission.shape}, "
                f"initial {tuple(self.initial.shape)}",
                hint="shapes are [H, H], [H, V] and [H]",
            )
        if not 0 <= self.eos_token_id < vocabulary:
            raise ArgumentError(f"eos_token_id {self.eos_token_id} is outside [0, {vocabulary})")
