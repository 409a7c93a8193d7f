"""Layer-wise integer quantisation: both operands of every product with a matrix are rounded to b bits on [0, 1].

What neural networks are compressed with, and what Norm-Q (arXiv 2509.25439) is compared with. A matrix is one layer
with one scale, so that its entries are the nearest of `c / (2^b - 1)` and its rows sum to anything. A vector that it is
multiplied by at run time (a predictive state, a row of a look-ahead table, the weights of a score) is first divided by
its largest entry, which the published code does by taking logarithms, then rounded to the same grid, and the product
is multiplied back.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.kernels.scoring import ScoringStep
from ctrlg.matrices import DenseMatrix, StochasticMatrix, WrappedMatrix
from ctrlg.quantization.baselines.grids import MOST_BITS, on_unit_grid
from ctrlg.quantization.baselines.levels import MOST_CODE_BITS, Levelled, rows_of_levels
from ctrlg.quantization.rows import check_bits
from ctrlg.storage.layouts import arrange


class IntegerMatrix(WrappedMatrix):
    """A matrix [H, N] whose operands at run time have `bits` bits, as its entries do; rows need not sum to 1.

    Args:
        matrix: with entries on the grid on [0, 1]; `of_entries` rounds them.
        bits: 1 to 16.

    Raises:
        ArgumentError: bits out of range.
    """

    def __init__(self, matrix: StochasticMatrix, bits: int) -> None:
        check_bits(bits, MOST_BITS)
        self.bits = bits
        super().__init__(matrix)

    @classmethod
    def of_entries(cls, entries: Tensor, bits: int) -> IntegerMatrix:
        """The matrix of float32 or float64 entries [H, N], rounded here; held as codes where these are float32 and have
        at most 8 bits.

        Args:
            entries: float32 or float64 [H, N], >= 0.
            bits: 1 to 16.

        Raises:
            ArgumentError: a tensor that is no matrix of floats and bits out of range.
        """
        check_bits(bits, MOST_BITS)
        matrix = DenseMatrix(on_unit_grid(entries, bits))
        if bits > MOST_CODE_BITS or entries.dtype != torch.float32:
            return cls(matrix, bits)
        return cls(arrange(rows_of_levels(Levelled(matrix.probabilities, None), bits), bits, normalised=False), bits)

    def to(self, device: torch.device | str) -> IntegerMatrix:
        return IntegerMatrix(self._matrix.to(device), self.bits)

    def left(self, x: Tensor) -> Tensor:
        return self._matrix.left(rounded_operand(x, self.bits))

    def right(self, y: Tensor) -> Tensor:
        return self._matrix.right(rounded_operand(y, self.bits))

    def scores(self, step: ScoringStep) -> Tensor:
        return self._matrix.scores(self._rounded(step))

    def add_scores(
        self,
        log_probs: Tensor,
        step: ScoringStep,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        return self._matrix.add_scores(log_probs, self._rounded(step), out)

    def _rounded(self, step: ScoringStep) -> ScoringStep:
        weights, predictive = rounded_operand(step.weights, self.bits), rounded_operand(step.predictive, self.bits)
        return step._replace(weights=weights, predictive=predictive)


def rounded_operand(x: Tensor, bits: int) -> Tensor:
    """Every row of `x` divided by its largest entry, rounded to `bits` bits on [0, 1], and multiplied back.

    Idempotent, up to rounding of floats.

    Args:
        x: float [B, n], >= 0; rows of zeros stay.
        bits: 1 to 16.
    """
    if not x.numel():
        return x
    largest = x.amax(-1, keepdim=True)
    largest = torch.where(largest > 0, largest, 1)
    return on_unit_grid(x / largest, bits).mul_(largest)
