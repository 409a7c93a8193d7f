"""k-means of a matrix: as good as a library's, repeatable, and the same levels with and without normalised rows."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from random_hmms import hard_rows, random_rows
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization.k_means import centroids, k_means, k_means_unnormalised


def distance(p: Tensor, points: Tensor) -> float:
    """Sum of squared distances of the entries to the nearest point."""
    return float(((p.flatten()[:, None] - points[None]) ** 2).amin(1).sum())


def test_a_centroid_for_every_value_changes_nothing() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5]])
    torch.testing.assert_close(k_means(p, 3), p, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bits", [2, 4])
def test_it_is_as_good_as_a_well_kept_one(bits: int) -> None:
    from sklearn.cluster import KMeans

    p = random_rows(40, 200, 2.0, seed=3).double()
    reference = KMeans(2**bits, random_state=0).fit(p.reshape(-1, 1).numpy())
    ours = min(distance(p, torch.from_numpy(centroids(p, 2**bits, seed))) for seed in range(3))
    assert ours < 1.1 * distance(p, torch.from_numpy(reference.cluster_centers_[:, 0]))


def test_it_repeats_with_its_seed() -> None:
    p = random_rows(20, 100, 3.0, seed=4)
    assert torch.equal(k_means(p, 4, seed=1), k_means(p, 4, seed=1))
    assert not torch.equal(k_means(p, 4, seed=1), k_means(p, 4, seed=2))


@settings(deadline=None, max_examples=25)
@given(p=hard_rows(), bits=st.integers(1, 8))
def test_normalising_divides_rows_of_nearest_centroids(p: Tensor, bits: int) -> None:
    levels = k_means_unnormalised(p, bits).double()
    points = torch.from_numpy(centroids(p, 2**bits, 0)).to(p.dtype).double()
    nearest = (p.double()[..., None] - points).abs().amin(-1)
    torch.testing.assert_close((levels - p).abs(), nearest, rtol=1e-5, atol=1e-7)
    sums = levels.sum(1, keepdim=True)
    expected = torch.where(sums > 0, levels / sums, 1 / p.shape[1])
    torch.testing.assert_close(k_means(p, bits).double(), expected, rtol=1e-5, atol=1e-8)


def test_only_rows_that_are_to_be_normalised_must_be_distributions() -> None:
    weights = torch.tensor([[0.0, 0.0], [0.5, 2.0]])
    assert torch.equal(k_means_unnormalised(weights, 2), weights)
    with pytest.raises(ArgumentError, match="row 0 sums to 0"):
        k_means(weights, 2)
