"""Linear grids: their rules number by number, and what the published code's formula really says."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from helpers.random_inputs.hmms import hard_rows, random_rows, stochastic_rows
from hypothesis import given, settings
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization.baselines.grids import (
    column_normalised,
    matrix_max,
    norm_q_max,
    on_unit_grid,
    row_max,
    unnormalised,
)
from ctrlg.quantization.norm_q import norm_q


def published(flow: Tensor, bits: int) -> Tensor:
    """The steps of Norm-Q's test_benchmark.py for `--cluster 2**bits`, in their order."""
    highest = 2**bits - 1
    scale = torch.max(flow) / highest
    levels = torch.clamp(torch.round(flow / scale), 0, highest)
    levels = levels + 0.001 / levels.shape[-1]
    return levels / torch.sum(levels, dim=-1, keepdim=True)


@settings(deadline=None, max_examples=30)
@given(p=stochastic_rows(), bits=st.integers(1, 16))
def test_norm_q_max_is_the_rule_of_the_published_code(p: Tensor, bits: int) -> None:
    p = p.double()
    torch.testing.assert_close(norm_q_max(p, bits), published(p, bits), rtol=1e-12, atol=0)


def test_norm_q_max_number_by_number() -> None:
    p = torch.tensor([[0.5, 0.3, 0.2, 0.0], [0.25, 0.25, 0.25, 0.25], [0.06, 0.06, 0.88, 0.0]], dtype=torch.float64)
    levels = [[2, 1, 1, 0], [1, 1, 1, 1], [0, 0, 3, 0]]  # of steps of 0.88 / 3
    expected = [[(level + 0.00025) / (sum(row) + 0.001) for level in row] for row in levels]
    torch.testing.assert_close(norm_q_max(p, 2), torch.tensor(expected).double(), rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=30)
@given(p=stochastic_rows(), bits=st.integers(1, 16))
def test_matrix_max_has_the_levels_of_norm_q_max_over_a_smaller_background(p: Tensor, bits: int) -> None:
    p = p.double()
    step = p.max() / (2**bits - 1)
    expected = (p / step).round() * step + 0.001 / p.shape[1]
    torch.testing.assert_close(matrix_max(p, bits), expected / expected.sum(1, keepdim=True), rtol=1e-9, atol=1e-15)
    smaller = 0.001 / float(step)  # that pseudocount of integer levels would be the same
    torch.testing.assert_close(matrix_max(p, bits), norm_q_max(p, bits, smaller), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("bits", "steps_by_xor"), [(8, 5), (4, 1), (3, 0), (2, 3)])
def test_the_grid_has_a_power_of_two_of_levels_not_an_exclusive_or(bits: int, steps_by_xor: int) -> None:
    assert 2 ^ bits - 1 == steps_by_xor, "what the published code computes: 2 XOR (bits - 1)"
    p = torch.zeros(2002, 2, dtype=torch.float64)
    p[:, 0] = torch.linspace(0, 1, 2002, dtype=torch.float64)  # no entry halfway between two levels
    p[:, 1] = 1 - p[:, 0]
    levels = norm_q_max(p, bits, pseudocount=0.0)
    assert len(torch.unique((levels[:, 0] * 1e9).round())) == 2**bits


@settings(deadline=None, max_examples=40)
@given(p=hard_rows(), bits=st.integers(1, 16))
def test_norm_q_is_the_unnormalised_grid_with_its_rows_divided(p: Tensor, bits: int) -> None:
    q = unnormalised(p, bits).double()
    sums = q.sum(1, keepdim=True)
    assert bool((sums <= 2 + 1e-6).all())
    expected = torch.where(sums > 0, q / torch.where(sums > 0, sums, 1), 1 / p.shape[1])
    torch.testing.assert_close(norm_q(p, bits, eps=0.0).double(), expected, rtol=1e-4, atol=1e-7)


def test_values_outside_the_unit_interval_are_clipped() -> None:
    values = torch.tensor([-0.5, 0.0, 0.16, 0.17, 0.5, 1.0, 7.0])
    expected = torch.tensor([0.0, 0.0, 0.0, 1 / 3, 2 / 3, 1.0, 1.0])  # 0.5 lies between two levels: to the even code
    torch.testing.assert_close(on_unit_grid(values, 2), expected)


@settings(deadline=None, max_examples=30)
@given(p=hard_rows(), bits=st.integers(1, 16))
def test_columns_are_normalised_and_empty_ones_uniform(p: Tensor, bits: int) -> None:
    columns = column_normalised(p, bits)
    torch.testing.assert_close(columns.double().sum(0), torch.ones(p.shape[1]).double(), rtol=0, atol=1e-5)
    empty = unnormalised(p, bits).amax(0) == 0
    torch.testing.assert_close(columns[:, empty], torch.full_like(columns[:, empty], 1 / len(p)))
    assert bool((column_normalised(p, bits, eps=0.0)[:, empty] == 0).all())


@settings(deadline=None, max_examples=30)
@given(p=hard_rows(), bits=st.integers(1, 16))
def test_row_max_rounds_the_largest_entry_of_a_row_to_the_highest_level(p: Tensor, bits: int) -> None:
    rows, top = row_max(p, bits, eps=0.0).double(), p.double().amax(1, keepdim=True)
    relative = rows / rows.amax(1, keepdim=True)
    assert bool((relative.argmax(1) == rows.argmax(1)).all())
    assert float((relative - p / top).abs().max()) <= 0.5 / (2**bits - 1) + 1e-6


def test_constants_out_of_range_are_refused() -> None:
    p = random_rows(2, 4, 1.0, seed=0)
    for method in (norm_q_max, matrix_max):
        with pytest.raises(ArgumentError, match="pseudocount is -1"):
            method(p, 4, pseudocount=-1.0)
    for method in (row_max, column_normalised):
        with pytest.raises(ArgumentError, match="eps is 1"):
            method(p, 4, eps=1.0)
    with pytest.raises(ArgumentError, match="entries reach from -"):
        unnormalised(p.log(), 4)
