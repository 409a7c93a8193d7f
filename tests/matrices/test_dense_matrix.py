"""DenseMatrix passes the algebra, wraps without copying, and keeps the precision it is given."""

from __future__ import annotations

import pytest
import torch
from helpers.matrix_algebra import StochasticMatrixAlgebra
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.matrices import DenseMatrix


class TestDenseMatrix(StochasticMatrixAlgebra):
    def make(self, dense: Tensor) -> DenseMatrix:
        return DenseMatrix(dense)


class TestDenseMatrixInFloat64(StochasticMatrixAlgebra):
    def make(self, dense: Tensor) -> DenseMatrix:
        return DenseMatrix(dense.double())


def test_wraps_without_copying() -> None:
    probabilities = torch.full((3, 5), 0.2)
    matrix = DenseMatrix(probabilities)
    assert matrix.nbytes == 3 * 5 * 4
    probabilities[0, 0] = 0.5
    assert matrix.to_dense()[0, 0] == 0.5


@pytest.mark.parametrize("wrong", [torch.ones(3), torch.ones(0, 3), torch.ones(2, 2, dtype=torch.int64)])
def test_refuses_what_is_no_matrix_of_probabilities(wrong: Tensor) -> None:
    with pytest.raises(ArgumentError):
        DenseMatrix(wrong)
