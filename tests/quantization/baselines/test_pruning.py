"""Pruning: exactly so many of the smallest entries go, what is left sums to 1, and rows that lose all stay empty."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from helpers.random_inputs.hmms import hard_rows, random_rows
from hypothesis import given, settings
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization.baselines.pruning import prune, pruning_ratio
from ctrlg.quantization.methods import METHODS


@settings(deadline=None, max_examples=50)
@given(p=hard_rows(), ratio=st.floats(0.0, 0.99))
def test_the_smallest_entries_go_and_rows_that_keep_any_sum_to_1(p: Tensor, ratio: float) -> None:
    rows = prune(p, ratio)
    gone = (rows == 0) & (p > 0)
    dropped = round(ratio * p.numel())
    assert int((rows == 0).sum()) == max(dropped, int((p == 0).sum()))
    if bool(gone.any()) and bool((rows > 0).any()):
        assert float(p[gone].max()) <= float(p[rows > 0].min())
    empty = (rows == 0).all(1)
    expected = torch.where(empty, 0.0, 1.0).double()
    torch.testing.assert_close(rows.double().sum(1), expected, rtol=0, atol=1e-5)
    sums = p.double().masked_fill(rows == 0, 0).sum(1, keepdim=True)
    torch.testing.assert_close(rows.double() * sums, p.double().masked_fill(rows == 0, 0), rtol=1e-5, atol=1e-30)


def test_flat_rows_empty_long_before_spiky_ones() -> None:
    flat, spiky = torch.full((1, 100), 0.01), torch.full((1, 100), 0.5 / 99)
    spiky[0, 0] = 0.5
    rows = prune(torch.cat([flat, spiky]), 0.995)
    assert int((rows[0] > 0).sum()) == 0 and rows[1, 0] == 1


def test_more_rows_empty_the_more_is_pruned() -> None:
    flat = random_rows(200, 400, 1.0, seed=0)
    p = torch.softmax(flat.log() * torch.linspace(0.2, 4, 200)[:, None], dim=1)  # ever more spiky
    empty = [int((prune(p, ratio).sum(1) == 0).sum()) for ratio in (0.5, 0.9, 0.97, 0.99)]
    assert empty == sorted(empty) and empty[0] == 0 and empty[-1] > 20


@pytest.mark.parametrize(("bits", "ratio"), [(32, 0.0), (8, 0.75), (4, 0.875), (2, 0.9375), (1, 0.96875)])
def test_bits_are_those_of_the_floats_that_are_kept(bits: int, ratio: float) -> None:
    p = random_rows(16, 64, 3.0, seed=1)
    assert pruning_ratio(bits) == ratio
    rows = METHODS["prune"](p, bits)
    assert int((rows > 0).sum()) * 32 == bits * p.numel()
    assert torch.equal(rows, prune(p, ratio))


@pytest.mark.parametrize("ratio", [-0.1, 1.0, float("nan")])
def test_ratios_out_of_range_are_refused(ratio: float) -> None:
    with pytest.raises(ArgumentError, match="ratio is"):
        prune(torch.full((2, 2), 0.5), ratio)
    with pytest.raises(ArgumentError, match="bits is 33"):
        pruning_ratio(33)
