"""Integer products: every operation is the dense one of rounded entries and rounded operands, in float64."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from helpers.random_inputs.hmms import hard_rows
from hypothesis import given, settings
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.quantization.baselines.grids import on_unit_grid
from ctrlg.quantization.baselines.integer import IntegerMatrix, rounded_operand

BITS = st.integers(1, 16)
SEEDS = st.integers(0, 2**31)


def assert_close(given: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(given.double(), expected.double(), rtol=tolerance, atol=tolerance)


def log_ratio(entries: Tensor, weights: Tensor, predictive: Tensor) -> Tensor:
    """log(weights @ entries) - log(predictive @ entries) in float64, -inf where either product is 0."""
    above, below = weights.double() @ entries.double(), predictive.double() @ entries.double()
    return (above.log() - below.log()).masked_fill((above == 0) | (below == 0), -torch.inf)


def by_hand(row: list[float], bits: int) -> list[float]:
    """A row divided by its largest entry, rounded, and multiplied back."""
    largest, top = max(row), 2**bits - 1
    return [round(value / largest * top) / top * largest if largest else 0.0 for value in row]


@settings(deadline=None, max_examples=40)
@given(bits=BITS, seed=SEEDS)
def test_an_operand_has_few_levels_and_keeps_its_largest_entry(bits: int, seed: int) -> None:
    x = torch.rand(4, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[0] *= 1e-30
    x[1] = 0
    rounded = rounded_operand(x, bits)
    expected = torch.tensor([by_hand(row, bits) for row in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(rounded, expected, rtol=1e-12, atol=0)
    assert max(len(row.unique()) for row in rounded) <= 2**bits
    torch.testing.assert_close(rounded.amax(1), x.amax(1), rtol=1e-12, atol=0)
    torch.testing.assert_close(rounded_operand(rounded, bits), rounded, rtol=1e-12, atol=0)


@settings(deadline=None, max_examples=40)
@given(p=hard_rows(), bits=BITS, seed=SEEDS)
def test_products_round_both_operands(p: Tensor, bits: int, seed: int) -> None:
    matrix, entries = IntegerMatrix.of_entries(p, bits), on_unit_grid(p, bits)
    rng = torch.Generator().manual_seed(seed)
    x, y = torch.rand(5, p.shape[0], generator=rng), torch.rand(3, p.shape[1], generator=rng)
    assert torch.equal(matrix.to_dense(), entries.float())
    assert_close(matrix.left(x), rounded_operand(x, bits).double() @ entries.double())
    assert_close(matrix.right(y), rounded_operand(y, bits).double() @ entries.double().T)
    assert_close(matrix.rows(torch.tensor([0])), entries[:1], 1e-7)
    ids = torch.tensor([-1, p.shape[1] - 1])
    assert_close(matrix.columns(ids), torch.stack([torch.ones(len(p)).to(p), entries[:, -1]]), 1e-7)
    classes = torch.randint(0, 3, (p.shape[1],), generator=rng)
    expected = torch.zeros(3, len(p), dtype=torch.float64).index_add_(0, classes, entries.double().T)
    assert_close(matrix.class_sums(classes, 3), expected)


@settings(deadline=None, max_examples=40)
@given(p=hard_rows(), bits=BITS, seed=SEEDS)
def test_scores_round_both_operands_and_are_never_nan(p: Tensor, bits: int, seed: int) -> None:
    matrix, entries = IntegerMatrix.of_entries(p, bits), on_unit_grid(p, bits)
    rng = torch.Generator().manual_seed(seed)
    weights = torch.rand(3, len(p), generator=rng) * 10 ** (-30 * torch.rand(3, 1, generator=rng))
    predictive = torch.rand(3, len(p), generator=rng) * (torch.rand(3, len(p), generator=rng) < 0.7)
    row_of, class_of = torch.tensor([[2], [0], [-1]]), torch.zeros(p.shape[1], dtype=torch.int64)
    scores = matrix.scores(ScoringStep(weights, predictive, row_of, class_of))
    expected = log_ratio(entries, rounded_operand(weights[[2, 0, 1]], bits), rounded_operand(predictive, bits))
    expected[2] = -torch.inf
    assert not scores.isnan().any()
    assert_close(scores, expected, 1e-4)
    logits = torch.randn(scores.shape, generator=rng)
    joined, log_sum = matrix.add_scores(logits, ScoringStep(weights, predictive, row_of, class_of))
    assert_close(joined, logits + scores)
    assert_close(log_sum, joined.logsumexp(1))


def test_rounding_may_leave_nothing() -> None:
    matrix = IntegerMatrix.of_entries(torch.full((3, 300), 1 / 300), 4)
    predictive = torch.full((1, 3), 1 / 3)
    assert matrix.left(predictive).eq(0).all()
    row_of, class_of = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(300, dtype=torch.int64)
    joined, log_sum = matrix.add_scores(
        torch.zeros(1, 300), ScoringStep(torch.ones(1, 3), predictive, row_of, class_of)
    )
    assert (joined == -torch.inf).all() and (log_sum == -torch.inf).all()


def test_it_moves_and_refuses_what_does_not_fit() -> None:
    p = torch.full((3, 4), 0.25)
    matrix = IntegerMatrix.of_entries(p, 3)
    assert torch.equal(matrix.to("cpu").to_dense(), matrix.to_dense()) and matrix.to("cpu").bits == 3
    assert matrix.to("meta").device == torch.device("meta")
    assert matrix.shape == (3, 4)
    assert IntegerMatrix.of_entries(p, 9).nbytes == 3 * 4 * 4  # floats: codes have at most 8 bits
    with pytest.raises(ArgumentError, match="bits is 17"):
        IntegerMatrix.of_entries(p, 17)
    with pytest.raises(ArgumentError, match="x has shape"):
        matrix.left(torch.ones(1, 4))
