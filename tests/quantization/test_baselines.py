"""The quantisers EM is made aware of: their grids, their sums, and what the published code's formula really says."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from random_hmms import random_hmm, random_rows, stochastic_rows
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization import quantize
from ctrlg.quantization.baselines import (
    METHODS,
    MOST_BITS,
    centroids,
    k_means,
    norm_q_max,
    quantize_distributions,
    quantize_rows,
)


def max_grid_by_hand(p: list[list[float]], bits: int) -> list[list[float]]:
    """The published variant, number by number."""
    step = max(map(max, p)) / (2**bits - 1)
    rows = [[round(value / step) * step + 0.001 / len(row) for value in row] for row in p]
    return [[value / sum(row) for value in row] for row in rows]


def distance(p: Tensor, points: Tensor) -> float:
    """Sum of squared distances of the entries to the nearest point."""
    return float(((p.flatten()[:, None] - points[None]) ** 2).amin(1).sum())


@settings(deadline=None, max_examples=30)
@given(p=stochastic_rows(), bits=st.integers(1, 16))
def test_norm_q_max_is_the_rule_of_the_published_code(p: Tensor, bits: int) -> None:
    p = p.double()
    expected = torch.tensor(max_grid_by_hand(p.tolist(), bits), dtype=torch.float64)
    torch.testing.assert_close(norm_q_max(p, bits), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("bits", "steps_by_xor"), [(8, 5), (4, 1), (3, 0), (2, 3)])
def test_the_grid_has_a_power_of_two_of_levels_not_an_exclusive_or(bits: int, steps_by_xor: int) -> None:
    assert 2 ^ bits - 1 == steps_by_xor, "what the published code computes: 2 XOR (bits - 1)"
    p = torch.zeros(2002, 2, dtype=torch.float64)
    p[:, 0] = torch.linspace(0, 1, 2002, dtype=torch.float64)  # no entry halfway between two levels
    p[:, 1] = 1 - p[:, 0]
    levels = norm_q_max(p, bits, pseudocount=0.0)
    assert len(torch.unique((levels[:, 0] * 1e9).round())) == 2**bits


@settings(deadline=None, max_examples=24)
@given(p=stochastic_rows(), method=st.sampled_from(sorted(METHODS)), bits=st.integers(1, 8))
def test_rows_stay_distributions(p: Tensor, method: str, bits: int) -> None:
    before = p.clone()
    rows = quantize_rows(p, method, bits)
    assert torch.equal(p, before)
    assert rows.dtype == p.dtype and rows.shape == p.shape and bool((rows >= 0).all())
    torch.testing.assert_close(rows.double().sum(1), torch.ones(len(p)).double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["norm-q", "norm-q-max", "k-means"])
def test_nothing_possible_becomes_impossible(method: str) -> None:
    assert bool((quantize_rows(random_rows(6, 300, 4.0, seed=1), method, 2) > 0).all())


def test_k_means_with_a_centroid_for_every_value_changes_nothing() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5]])
    torch.testing.assert_close(k_means(p, 3), p, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bits", [2, 4])
def test_k_means_is_as_good_as_a_well_kept_one(bits: int) -> None:
    from sklearn.cluster import KMeans

    p = random_rows(40, 200, 2.0, seed=3).double()
    reference = KMeans(2**bits, random_state=0).fit(p.reshape(-1, 1).numpy())
    ours = min(distance(p, torch.from_numpy(centroids(p, 2**bits, seed))) for seed in range(3))
    assert ours < 1.1 * distance(p, torch.from_numpy(reference.cluster_centers_[:, 0]))


def test_k_means_repeats_with_its_seed() -> None:
    p = random_rows(20, 100, 3.0, seed=4)
    assert torch.equal(k_means(p, 4, seed=1), k_means(p, 4, seed=1))
    assert not torch.equal(k_means(p, 4, seed=1), k_means(p, 4, seed=2))


def test_log_norm_q_of_a_model_is_that_of_quantize() -> None:
    hmm = random_hmm(6, 40)
    transition, emission = quantize_distributions(
        hmm.transition.to_dense(), hmm.emission.to_dense(), hmm.initial, "log-norm-q", 4
    )
    dense = quantize(hmm, "log-norm-q", 4).dequantize()
    torch.testing.assert_close(transition, dense.transition.to_dense(), rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(emission, dense.emission.to_dense(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_bits_and_methods_out_of_range_are_refused(method: str) -> None:
    p = torch.full((2, 2), 0.5)
    for bits in (0, MOST_BITS[method] + 1):
        with pytest.raises(ArgumentError, match=f"bits is {bits}"):
            quantize_rows(p, method, bits)
    with pytest.raises(ArgumentError, match="no-method"):
        quantize_rows(p, "no-method", 4)
