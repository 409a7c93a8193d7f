"""k-means of a matrix: as good as a library's, repeatable, and the same levels with and without normalised rows."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from helpers.random_inputs.hmms import hard_rows, random_rows
from hypothesis import given, settings
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization.baselines.k_means import centroids, cluster, cluster_logs, k_means, k_means_unnormalised


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


@settings(deadline=None, max_examples=25)
@given(p=hard_rows(), bits=st.integers(1, 8))
def test_logs_go_to_the_nearest_centroid_and_zeros_stay_zeros(p: Tensor, bits: int) -> None:
    logs = p.log()
    found = cluster_logs(logs, bits)
    assert len(found.centroids) <= 2**bits and found.labels.shape == p.shape
    assert torch.equal(torch.isinf(found.values()), p == 0)
    finite = torch.isfinite(logs)
    points = found.centroids[torch.isfinite(found.centroids)].double()
    nearest = (logs[finite].double()[:, None] - points).abs().amin(-1)
    torch.testing.assert_close((found.values()[finite] - logs[finite]).abs().double(), nearest, rtol=1e-4, atol=1e-5)


def test_logs_are_clustered_as_well_as_by_a_well_kept_library() -> None:
    from sklearn.cluster import KMeans

    logs = random_rows(40, 200, 2.0, seed=3).log()
    reference = KMeans(16, random_state=0).fit(logs.reshape(-1, 1).numpy())
    ours = min(distance(logs, cluster_logs(logs, 4, seed).centroids) for seed in range(3))
    assert ours < 1.1 * distance(logs, torch.from_numpy(reference.cluster_centers_[:, 0]))


def test_clusters_of_probabilities_are_those_of_the_method() -> None:
    p = random_rows(20, 100, 3.0, seed=4)
    assert torch.equal(cluster(p, 4).values(), k_means_unnormalised(p, 4))


def test_logs_must_be_logs() -> None:
    for entry in (0.5, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match="largest entry"):
            cluster_logs(torch.tensor([[entry, -1.0]]), 2)
    cluster_logs(torch.tensor([[1e-6, -1.0]]), 2)  # a rounding error


def test_only_rows_that_are_to_be_normalised_must_be_distributions() -> None:
    weights = torch.tensor([[0.0, 0.0], [0.5, 2.0]])
    assert torch.equal(k_means_unnormalised(weights, 2), weights)
    with pytest.raises(ArgumentError, match="row 0 sums to 0"):
        k_means(weights, 2)
