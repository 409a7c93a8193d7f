from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from helpers.random_inputs.hmms import stochastic_rows
from hypothesis import given, settings
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization import norm_q, norm_q_rows


def by_hand(row: list[float], bits: int, eps: float) -> list[float]:
    """The paper's rule, number by number; python rounds halves to even, as torch does."""
    top = 2**bits - 1
    q = [min(max(round(p * top), 0), top) / 2**bits + eps for p in row]
    return [value / sum(q) for value in q]


@settings(deadline=None, max_examples=60)
@given(p=stochastic_rows(), bits=st.integers(1, 16), eps=st.sampled_from([1e-12, 1e-6]))
def test_norm_q_is_the_rule_of_the_paper(p: Tensor, bits: int, eps: float) -> None:
    p = p.double()
    expected = torch.tensor([by_hand(row, bits, eps) for row in p.tolist()], dtype=torch.float64)
    quantised = norm_q(p, bits, eps)
    assert quantised.dtype == torch.float64
    torch.testing.assert_close(quantised, expected, rtol=1e-9, atol=1e-15)


@settings(deadline=None, max_examples=40)
@given(p=stochastic_rows(), bits=st.integers(1, 8))
def test_codes_scale_and_background_are_norm_q(p: Tensor, bits: int) -> None:
    rows = norm_q_rows(p, bits)
    assert rows.codebook.tolist() == [code / 2**bits for code in range(2**bits)]
    torch.testing.assert_close(rows.dense(), norm_q(p, bits), rtol=0, atol=1e-6)
    torch.testing.assert_close(rows.dense().double().sum(1), torch.ones(len(p)).double(), rtol=0, atol=1e-5)


def test_a_known_row() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1, 0.0]], dtype=torch.float64)
    # times 3: 2.1, 0.6, 0.3, 0 -> 2, 1, 0, 0
    torch.testing.assert_close(
        norm_q(p, 2, 0.0), torch.tensor([[2 / 3, 1 / 3, 0, 0]], dtype=torch.float64), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("eps", [0.0, 1e-12])
def test_a_row_that_rounds_to_nothing_becomes_uniform(eps: float) -> None:
    p = torch.full((2, 50), 0.02)
    assert torch.equal(norm_q(p, 3, eps), torch.full((2, 50), 0.02))
    torch.testing.assert_close(norm_q_rows(p, 3, eps).dense(), torch.full((2, 50), 0.02))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0.5, 0.5], [0.5, 0.6]], "row 1 sums to 1.1"),
        ([[0.5, 0.5], [float("nan"), 0.5]], "row 1 sums to nan"),
        ([[1.5, -0.5]], "row 0 has a negative entry and sums to 1"),
        ([[float("inf"), 0.0]], "row 0 sums to inf"),
    ],
)
def test_rows_that_are_no_distributions_are_named(rows: list[list[float]], message: str) -> None:
    for quantiser in (norm_q, norm_q_rows):
        with pytest.raises(ArgumentError, match=message):
            quantiser(torch.tensor(rows), 4)


@pytest.mark.parametrize("bits", [0, 17, 2.0, True])
def test_bits_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(ArgumentError, match="bits"):
        norm_q(torch.ones(1, 1), bits)


def test_codes_have_at_most_eight_bits() -> None:
    with pytest.raises(ArgumentError, match="bits is 9"):
        norm_q_rows(torch.ones(1, 1), 9)


@pytest.mark.parametrize("p", [torch.ones(3), torch.ones(1, 1, dtype=torch.int64), torch.ones(0, 3), torch.ones(1, 0)])
def test_what_is_no_matrix_is_refused(p: Tensor) -> None:
    with pytest.raises(ArgumentError, match="shape"):
        norm_q(p, 4)


@pytest.mark.parametrize("eps", [-1e-3, 1.0, float("nan")])
def test_eps_out_of_range_is_refused(eps: float) -> None:
    with pytest.raises(ArgumentError, match="eps"):
        norm_q(torch.ones(1, 1), 4, eps)


def test_the_argument_is_not_changed() -> None:
    p = torch.tensor([[0.7, 0.3]])
    norm_q(p, 2)
    norm_q_rows(p, 2)
    assert p.tolist() == torch.tensor([[0.7, 0.3]]).tolist()
