"""k-means over hidden states that lie in many files: centroids from a bounded sample, then one chunk at a time.

The sample is sampled without replacement over all chunks together: how many vectors each one gives follows the
multivariate hypergeometric distribution, so that no list of all vectors is ever made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ctrlg.distillation.first_hmm.torch_k_means import check_finite, replaces_faiss, train_on_device
from ctrlg.errors import DataError

ASSIGNMENT_BLOCK = 4096  # vectors whose distances to all centroids exist at a time


def share_of_sample(sizes: Sequence[int], count: int, seed: int) -> list[NDArray[np.int64]]:
    """Positions to sample from each of several sets of these sizes, sorted; `count` together, all where there are
    fewer.

    Every subset of `count` members is equally likely; the same seed samples the same one.

    Args:
        sizes: of the sets.
        count: members to sample in all.
        seed: of the samples.

    Returns:
        Sorted positions for each set, int64.
    """
    generator = np.random.default_rng(seed)
    total = sum(sizes)
    if count >= total:
        return [np.arange(size) for size in sizes]
    shares = generator.multivariate_hypergeometric(sizes, count, method="marginals")
    return [np.sort(generator.choice(size, share, replace=False)) for size, share in zip(sizes, shares, strict=True)]


def train_centroids(
    vectors: NDArray[np.float32], clusters: int, iterations: int, seed: int, device: str | torch.device = "cpu"
) -> Tensor:
    """k-means of vectors [n, D]; centroids float32 [clusters, D] on the device.

    Vectors that occur many times (every sequence begins after the same prompt) count once with their number as weight:
    as rows of their own they would be sampled as several equal centroids, of which all but one stay empty. faiss does
    it where it is installed and, for a GPU, is `faiss-gpu`; torch does everywhere else.

    Args:
        vectors: float32 [n, D].
        clusters: how many centroids.
        iterations: of k-means.
        seed: of the samples.
        device: to compute on.

    Raises:
        DataError: fewer distinct vectors than clusters, NaN and infinity.
    """
    if replaces_faiss(device):
        return train_on_device(vectors, clusters, iterations, seed, device)
    check_finite(vectors)
    distinct, weights = _distinct(vectors)
    if len(distinct) < clusters:
        raise DataError(
            f"{len(distinct)} distinct vectors are too few for {clusters + 1} states",
            hint=f"sample more, or take at most {max(2, len(distinct) // 40)} states",
        )
    return _train_with_faiss(distinct, weights, clusters, iterations, seed, torch.device(device))


def nearest_centroids(vectors: Tensor, centroids: Tensor) -> Tensor:
    """Index of the nearest centroid (Euclidean, the first of equals) of vectors [n, D], int64 [n], on the processor.

    Args:
        vectors: float32 [n, D].
        centroids: float32 [K, D].

    Raises:
        DataError: vectors of another width than the centroids [K, D].
    """
    if vectors.shape[1] != centroids.shape[1]:
        raise DataError(
            f"embeddings have {vectors.shape[1]} dimensions, earlier ones have {centroids.shape[1]}",
            hint="all files must come from one language model",
        )
    half_norms = centroids.square().sum(1) / 2
    parts = [_nearest(block.to(centroids), centroids, half_norms) for block in vectors.split(ASSIGNMENT_BLOCK)]
    return torch.cat(parts).cpu() if parts else torch.empty(0, dtype=torch.long)


def _nearest(block: Tensor, centroids: Tensor, half_norms: Tensor) -> Tensor:
    """argmin_k |x - c_k|^2 = argmax_k (x . c_k - |c_k|^2 / 2) of a block [n, D], int64 [n]."""
    return torch.addmm(-half_norms, block, centroids.T).argmax(1)


def _train_with_faiss(
    vectors: NDArray[np.float32],
    weights: NDArray[np.float32],
    clusters: int,
    iterations: int,
    seed: int,
    device: torch.device,
) -> Tensor:
    import faiss

    clustering = faiss.Kmeans(
        vectors.shape[1],
        clusters,
        niter=iterations,
        seed=seed % 2**31,  # faiss keeps it in an int
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors) // clusters + 1,  # the sample is bounded already
        gpu=device.type == "cuda",
    )
    clustering.train(vectors, weights=weights)
    centroids: Any = clustering.centroids
    return torch.from_numpy(np.ascontiguousarray(centroids)).to(device)


def _distinct(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(rows without repeats, in order of first occurrence; how often each occurs)."""
    places: dict[bytes, int] = {}
    first: list[int] = []
    counts: list[int] = []
    for index, row in enumerate(vectors):
        key = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
        place = places.setdefault(key, len(first))
        if place == len(first):
            first.append(index)
            counts.append(0)
        counts[place] += 1
    return np.ascontiguousarray(vectors[first]), np.array(counts, dtype=np.float32)
