"""k-means in plain torch: the same distances, weights and refusals as with faiss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ctrlg.distillation.first_hmm.clusters import nearest_centroids, train_centroids
from ctrlg.distillation.first_hmm.torch_k_means import distinct_vectors, lloyd, train_on_device
from ctrlg.errors import DataError


def blobs(seed: int = 0) -> torch.Tensor:
    """400 vectors around 8 far points, [400, 6]."""
    generator = torch.Generator().manual_seed(seed)
    centres = 10 * torch.randn(8, 6, generator=generator)
    return centres.repeat(50, 1) + 0.1 * torch.randn(400, 6, generator=generator)


def spread(vectors: torch.Tensor, centroids: torch.Tensor) -> float:
    return float((vectors - centroids[nearest_centroids(vectors, centroids)]).square().sum(1).mean())


def test_clusters_are_about_as_tight_as_those_of_faiss() -> None:
    vectors = blobs()
    ours = min(spread(vectors, train_on_device(vectors, 16, 20, seed, "cpu")) for seed in range(4))
    theirs = min(spread(vectors, train_centroids(vectors.numpy(), 16, 20, seed)) for seed in range(4))
    assert ours < max(1.5 * theirs, 0.1)


def test_equal_vectors_count_once_with_their_number() -> None:
    vectors = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0]])
    distinct, weights = distinct_vectors(vectors)
    found = {tuple(row.tolist()): float(weight) for row, weight in zip(distinct, weights, strict=True)}
    assert found == {(1.0, 2.0): 3.0, (3.0, 4.0): 1.0}


def test_one_centroid_is_the_weighted_mean() -> None:
    vectors = torch.tensor([[0.0], [4.0]])
    assert lloyd(vectors, torch.tensor([3.0, 1.0]), 1, 2, 0).tolist() == [[1.0]]


def test_no_cluster_stays_empty() -> None:
    vectors = blobs()
    centroids = lloyd(vectors, torch.ones(len(vectors)), 60, 20, 0)
    assert len(nearest_centroids(vectors, centroids).unique()) > 50


def test_too_few_and_not_finite_vectors_are_refused() -> None:
    with pytest.raises(DataError, match="1 distinct vectors are too few for 3 states"):
        train_on_device(np.ones((9, 3), dtype=np.float32), 2, 5, 0, "cpu")
    with pytest.raises(DataError, match="NaN or infinity"):
        train_on_device(np.array([[np.nan], [1.0]], dtype=np.float32), 1, 5, 0, "cpu")
