"""The reference kernels against products with the whole matrix, in float64 and block after block."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ctrlg.kernels import reference
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.matrices import DenseMatrix


@pytest.fixture(params=[1, 40, 2**22])
def block_entries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Entries decoded at a time: one column, a few, all."""
    monkeypatch.setattr(reference, "BLOCK_ENTRIES", request.param)
    return request.param


def probabilities(*shape: int) -> Tensor:
    rows = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))
    return rows / rows.sum(dim=-1, keepdim=True)


def test_products_in_float64(block_entries: int) -> None:
    dense = probabilities(7, 23)
    matrix, x, y = DenseMatrix(dense), probabilities(4, 7), probabilities(5, 23)
    torch.testing.assert_close(reference.left(matrix, x), x @ dense, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(reference.right(matrix, y), y @ dense.T, rtol=1e-12, atol=1e-15)
    assert reference.left(matrix, x.float()).dtype == torch.float32


def test_class_sums_and_columns(block_entries: int) -> None:
    dense = probabilities(7, 23)
    class_of = torch.arange(23) % 3
    sums = torch.stack([dense[:, k::3].sum(dim=1) for k in range(3)]).float()
    torch.testing.assert_close(reference.class_sums(DenseMatrix(dense), class_of, 3), sums)
    picked = reference.columns(DenseMatrix(dense), torch.tensor([4, -1, 4, 0]))
    torch.testing.assert_close(picked, torch.stack([dense[:, 4], torch.ones(7), dense[:, 4], dense[:, 0]]).float())


def test_scores_in_float64(block_entries: int) -> None:
    dense, weights, predictive = probabilities(7, 23), probabilities(3, 7) * 1e-200, probabilities(2, 7)
    row_of, class_of = torch.tensor([[0, 1, 1, -1], [2, -1, 1, 0]]), torch.arange(23) % 4
    scores = reference.scores(DenseMatrix(dense), ScoringStep(weights, predictive, row_of, class_of))
    assert scores.dtype == torch.float64
    for b in range(2):
        for v in range(23):
            row = int(row_of[b, class_of[v]])
            if row < 0:
                assert scores[b, v] == -torch.inf
            else:
                ratio = (weights[row] @ dense[:, v]) / (predictive[b] @ dense[:, v])
                assert float(scores[b, v]) == pytest.approx(float(ratio.log()), abs=1e-9)
