"""A matrix around another one, for classes that change a few of its operations."""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.matrices.base import StochasticMatrix


class WrappedMatrix(StochasticMatrix):
    """Shape, memory, place and entries are those of the matrix inside. Subclasses give the products.

    Args:
        matrix: the matrix inside, [H, N].
    """

    def __init__(self, matrix: StochasticMatrix) -> None:
        self._matrix = matrix

    @property
    def inside(self) -> StochasticMatrix:
        """The other matrix."""
        return self._matrix

    @property
    def shape(self) -> tuple[int, int]:
        return self._matrix.shape

    @property
    def nbytes(self) -> int:
        return self._matrix.nbytes

    @property
    def device(self) -> torch.device:
        return self._matrix.device

    def column_block(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        return self._matrix.column_block(start, stop, dtype)

    def trusted_columns(self, ids: Tensor) -> Tensor:
        return self._matrix.trusted_columns(ids)
