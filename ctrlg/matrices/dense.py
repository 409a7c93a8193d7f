"""A row-stochastic matrix that is simply held as a tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.arguments import checked
from ctrlg.devices import without_autocast
from ctrlg.errors import ArgumentError
from ctrlg.kernels import TENSOR_CORE_TYPES, dense, gpu_kernels, reference
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.kernels.token_classes import TokenClasses
from ctrlg.matrices.base import StochasticMatrix


class DenseMatrix(StochasticMatrix):
    """Wraps probabilities without copying them; the caller vouches that rows sum to 1.

    No operation needs that, so comparisons with methods that lose it wrap what is left of the rows just the same.

    Args:
        probabilities: floating-point [H, N].

    Raises:
        ArgumentError: a tensor that is not a floating-point matrix with at least one row and column.
    """

    @checked
    def __init__(self, probabilities: Tensor) -> None:
        if probabilities.dim() != 2 or not probabilities.numel() or not probabilities.is_floating_point():
            raise ArgumentError(
                f"a matrix of probabilities is needed, got {probabilities.dtype} {list(probabilities.shape)}",
                hint="pass a floating-point tensor [H, N]",
            )
        self.probabilities = probabilities.detach()

    @property
    def shape(self) -> tuple[int, int]:
        return self.probabilities.shape[0], self.probabilities.shape[1]

    @property
    def nbytes(self) -> int:
        return self.probabilities.numel() * self.probabilities.element_size()

    @property
    def device(self) -> torch.device:
        return self.probabilities.device

    def to(self, device: torch.device | str) -> DenseMatrix:
        return DenseMatrix(self.probabilities.to(device))

    def column_block(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        return self.probabilities[:, start:stop].to(dtype)

    @without_autocast()
    def left(self, x: Tensor) -> Tensor:
        self._require("x", x, (None, self.shape[0]))
        product = self._product(x, self.probabilities)
        return super().left(x) if product is None else product

    @without_autocast()
    def right(self, y: Tensor) -> Tensor:
        self._require("y", y, (None, self.shape[1]))
        product = self._product(y, self.probabilities.T)
        return super().right(y) if product is None else product

    @staticmethod
    def _product(x: Tensor, p: Tensor) -> Tensor | None:
        """`x @ p` of the type of x; on a GPU in the tensor cores' type where p has one. None for other types."""
        if x.dtype == p.dtype:
            return x @ p
        return (x.to(p.dtype) @ p).to(x.dtype) if p.is_cuda and p.dtype in TENSOR_CORE_TYPES else None

    @property
    def pairs_in_one_pass(self) -> bool:
        return self.probabilities.is_contiguous() and gpu_kernels(self.probabilities, dtypes=TENSOR_CORE_TYPES)

    def add_paired_scores(
        self, logits: Tensor, predictive: Tensor, rows: Tensor, row_of: Tensor, offset: Tensor, classes: TokenClasses
    ) -> tuple[Tensor, Tensor]:
        if not self.pairs_in_one_pass:
            return super().add_paired_scores(logits, predictive, rows, row_of, offset, classes)
        from ctrlg.kernels.gpu import dense as gpu_dense

        return gpu_dense.add_paired_scores(self.probabilities, logits, predictive, rows, row_of, offset, classes)

    def _scores(self, step: ScoringStep) -> Tensor:
        if step.predictive.dtype != self.probabilities.dtype:
            return super()._scores(step)
        return dense.scores(self.probabilities, step)

    def rows(self, ids: Tensor) -> Tensor:
        self._require_rows(ids)
        return self.probabilities[ids].to(torch.float32)

    def trusted_columns(self, ids: Tensor) -> Tensor:
        # Of the transposed view: EM keeps a token's probabilities side by side in memory.
        picked = self.probabilities.T.index_select(0, ids.clamp(min=0)).to(torch.float32)
        if ids.device.type == "cpu" and not bool((ids < 0).any()):  # elsewhere to ask costs more than to mask
            return picked
        return reference.ones_where_missing(picked, ids)
