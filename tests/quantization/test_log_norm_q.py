from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from helpers.random_inputs.hmms import random_rows, stochastic_rows
from hypothesis import given, settings
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization import log_norm_q, log_norm_q_rows, norm_q, state_occupancy


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of every row, float64 [H]."""
    p, q = p.double(), q.double()
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(1)


@settings(deadline=None, max_examples=60)
@given(p=stochastic_rows(), bits=st.integers(1, 8), threshold=st.sampled_from([0.0, 1e-8, 1e-3, 1.0]))
def test_rows_are_distributions_that_keep_every_token_possible(p: Tensor, bits: int, threshold: float) -> None:
    rows = log_norm_q_rows(p, bits, threshold=threshold)
    q = rows.dense()
    assert torch.isfinite(q).all()
    torch.testing.assert_close(q.double().sum(1), torch.ones(len(p)).double(), rtol=0, atol=1e-5)
    assert (q >= 0).all()
    assert (q[p > 1e-20] > 0).all()
    assert (rows.background >= 0).all()
    assert (rows.scale >= 0).all()


@settings(deadline=None, max_examples=30)
@given(p=stochastic_rows(), bits=st.integers(1, 8))
def test_a_row_has_at_most_two_to_the_bits_values(p: Tensor, bits: int) -> None:
    rows = log_norm_q_rows(p, bits, threshold=0.0)
    assert rows.codebook.shape == (2**bits,)
    assert rows.codebook[0] == 0
    assert (rows.codebook.diff() >= 0).all()
    assert all(len(row.unique()) <= 2**bits for row in rows.dense())


def test_background_is_the_dropped_mass_spread_evenly() -> None:
    p = random_rows(4, 300, spread=3.0, seed=0)
    rows = log_norm_q_rows(p, 6, threshold=1e-4)
    stored = rows.codes > 0
    assert 0 < stored.sum() < 0.5 * stored.numel()
    dropped = (p * ~stored).sum(1) / (~stored).sum(1)
    torch.testing.assert_close(rows.background, dropped, rtol=0.1, atol=0)


def test_stored_entries_gain_more_than_the_threshold_and_dropped_ones_less() -> None:
    p, threshold = random_rows(5, 400, spread=3.0, seed=1), 1e-4
    occupancy = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05])
    rows = log_norm_q_rows(p, 8, threshold=threshold, occupancy=occupancy)
    background = rows.background[:, None]
    gain = occupancy[:, None] * (p * torch.log(p / background) - (p - background))
    stored = rows.codes > 0
    assert gain[stored].min() > 0.8 * threshold
    assert gain[~stored & (p > background)].max() < 1.25 * threshold


def test_rare_states_keep_fewer_entries() -> None:
    row = random_rows(1, 500, spread=3.0, seed=2)
    rows = log_norm_q_rows(row.repeat(2, 1), 4, threshold=1e-5, occupancy=torch.tensor([0.99, 0.01]))
    often, seldom = (rows.codes > 0).sum(1).tolist()
    assert seldom < 0.5 * often


def test_more_bits_lose_less_and_far_less_than_norm_q() -> None:
    p = random_rows(20, 2000, spread=3.0, seed=3)
    losses = [float(divergence(p, log_norm_q(p, bits, threshold=0.0)).mean()) for bits in (1, 2, 3, 4, 6, 8)]
    assert losses == sorted(losses, reverse=True)
    assert losses[3] < 0.015
    assert losses[5] < 0.001
    assert losses[1] < float(divergence(p, norm_q(p, 8)).mean())


def test_a_higher_threshold_stores_less_and_loses_more() -> None:
    p = random_rows(10, 1000, spread=3.0, seed=4)
    results = [log_norm_q_rows(p, 4, threshold=threshold) for threshold in (0.0, 1e-6, 1e-4, 1e-2)]
    stored = [int((rows.codes > 0).sum()) for rows in results]
    losses = [float(divergence(p, rows.dense()).mean()) for rows in results]
    assert stored == sorted(stored, reverse=True)
    assert losses == sorted(losses)


@pytest.mark.parametrize("rows", [[[1.0]], [[0.0, 1.0, 0.0]], [[0.25] * 4], [[0.5, 0.5, 0.0, 0.0], [0.25] * 4]])
@pytest.mark.parametrize("bits", [2, 8])
def test_rows_of_few_values_are_kept_exactly(rows: list[list[float]], bits: int) -> None:
    p = torch.tensor(rows)
    torch.testing.assert_close(log_norm_q(p, bits, threshold=0.0), p, rtol=1e-5, atol=1e-7)


def test_type_follows_the_argument() -> None:
    assert log_norm_q(random_rows(2, 5, 1.0, 0).double(), 3).dtype == torch.float64


def test_occupancy_follows_the_chain() -> None:
    initial = torch.tensor([1.0, 0.0, 0.0])
    transition = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    occupancy = state_occupancy(initial, transition, tokens=4)
    expected = 0.95 * torch.tensor([0.25, 0.25, 0.5]).double() + 0.05 / 3
    torch.testing.assert_close(occupancy, expected)


@pytest.mark.parametrize("threshold", [-1e-9, float("nan")])
def test_thresholds_out_of_range_are_refused(threshold: float) -> None:
    with pytest.raises(ArgumentError, match="threshold"):
        log_norm_q(torch.ones(1, 1), 4, threshold=threshold)


@pytest.mark.parametrize("occupancy", [[0.5], [0.5, -0.5], [0.5, float("nan")], [1.0, 0.0]])
def test_an_occupancy_that_is_none_is_refused(occupancy: list[float]) -> None:
    with pytest.raises(ArgumentError, match="occupancy"):
        log_norm_q(random_rows(2, 5, 1.0, 0), 4, occupancy=torch.tensor(occupancy))


def test_rows_that_are_no_distributions_are_named() -> None:
    with pytest.raises(ArgumentError, match=r"row 1 sums to 0\.9"):
        log_norm_q(torch.tensor([[0.5, 0.5], [0.5, 0.4]]), 4)
