"""k-means on the device the vectors are compared on, in plain torch: for GPUs, and where faiss is not installed.

Lloyd's iteration with Euclidean distances: a vector belongs to the centroid with the largest `x.c - |c|^2 / 2`, a
centroid is the weighted mean of its members. One iteration is a product of 2 n K D operations, made block by block: a
million vectors of 576 numbers and 4,095 centroids are 5 TFLOP, about 0.1 s in float32 on an H100.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ctrlg.errors import DataError

SPLIT_STEP = 1 / 1024  # of a coordinate: how far the halves of a split cluster move apart, as in faiss
BLOCK_NUMBERS = 1 << 26  # of a block's products with all centroids: 256 MB in float32
HASH_WORDS = 2  # 64-bit sums by which equal vectors are found: a million different ones collide with 1e-26


def replaces_faiss(device: str | torch.device) -> bool:
    """Whether k-means is to run here: faiss is not installed, or has nothing for the device.

    Args:
        device: to compute on.
    """
    if importlib.util.find_spec("faiss") is None:
        return True
    kind = torch.device(device).type
    if kind != "cuda":
        return kind != "cpu"
    import faiss

    return not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0


def train_on_device(
    vectors: NDArray[Any] | Tensor, clusters: int, iterations: int, seed: int, device: str | torch.device
) -> Tensor:
    """Centroids float32 [clusters, D] of vectors [n, D], on the device; equal vectors count once, with their number.

    Args:
        vectors: float32 [n, D].
        clusters: how many centroids.
        iterations: at most.
        seed: of the first centroids.
        device: to compute on.

    Raises:
        DataError: fewer distinct vectors than clusters, NaN and infinity.
    """
    moved = torch.as_tensor(vectors).to(device)
    check_finite(moved)
    distinct, weights = distinct_vectors(moved)
    if len(distinct) < clusters:
        raise DataError(
            f"{len(distinct)} distinct vectors are too few for {clusters + 1} states",
            hint=f"sample more, or take at most {max(2, len(distinct) // 40)} states",
        )
    return lloyd(distinct, weights, clusters, iterations, seed)


def distinct_vectors(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """(rows of [n, D] without repeats, how often each occurs, float32), in the order of their hashes.

    Args:
        vectors: float32 [n, D].
    """
    numbers = vectors.contiguous().float().view(torch.int32)
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (numbers.shape[1], HASH_WORDS), generator=generator) * 2 + 1
    factors = factors.to(vectors.device)
    rows = max(1, BLOCK_NUMBERS // numbers.shape[1])
    # Sums of products modulo 2^64; int64 has no matrix product on GPUs.
    parts = [torch.stack([(block.long() * factor).sum(1) for factor in factors.T], 1) for block in numbers.split(rows)]
    _, group, counts = torch.unique(torch.cat(parts), dim=0, return_inverse=True, return_counts=True)
    place = torch.arange(len(vectors), device=vectors.device)
    first = place.new_full((len(counts),), len(vectors)).scatter_reduce_(0, group, place, "amin")
    return vectors[first], counts.float()


def lloyd(vectors: Tensor, weights: Tensor, clusters: int, iterations: int, seed: int) -> Tensor:
    """Centroids float32 [clusters, D] of distinct vectors [n, D], n >= clusters, with weights [n].

    They begin as vectors sampled at random. A centroid without members takes one half of a heavy cluster, as in
    faiss. Repeatable on one device.

    Args:
        vectors: float32 [n, D].
        weights: float32 [n].
        clusters: how many centroids.
        iterations: at most.
        seed: of the first centroids.
    """
    generator = torch.Generator().manual_seed(seed)
    start = torch.randperm(len(vectors), generator=generator)[:clusters].to(vectors.device)
    centroids = vectors[start].float()
    for _ in range(iterations):
        sums, masses = _members(vectors, weights, centroids)
        means = sums / masses.clamp_min(torch.finfo(masses.dtype).tiny)[:, None]
        centroids = _split_heavy(torch.where(masses[:, None] > 0, means, centroids), masses)
    return centroids


def _split_heavy(centroids: Tensor, mass: Tensor) -> Tensor:
    """Centroids [K, D] of which those without mass [K] move beside the heaviest ones, which step aside the other way.

    The step is SPLIT_STEP of each coordinate, alternately up and down.
    """
    empty = (mass == 0).nonzero()[:, 0]
    heavy = mass.topk(min(len(empty), len(mass) - len(empty))).indices
    empty = empty[: len(heavy)]
    step = torch.full_like(centroids[0], SPLIT_STEP)
    step[1::2] *= -1
    split = centroids.clone()
    split[empty], split[heavy] = centroids[heavy] * (1 + step), centroids[heavy] * (1 - step)
    return split


def check_finite(vectors: NDArray[np.float32] | Tensor) -> None:
    """Refuse vectors that k-means cannot work with.

    Args:
        vectors: [n, D].

    Raises:
        DataError: NaN or infinity.
    """
    finite = torch.isfinite(torch.as_tensor(vectors)).all()
    if not finite:
        raise DataError("the embeddings hold NaN or infinity", hint="sample again, in bfloat16 or float32")


def _members(vectors: Tensor, weights: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted sums [K, D] and masses [K] of the vectors nearest to each centroid.

    Sums are products with one-hot rows: a GPU's `index_add_` adds in any order, which no seed could repeat.
    """
    half_norms = centroids.square().sum(1) / 2
    sums, masses = torch.zeros_like(centroids), torch.zeros_like(half_norms)
    rows = max(1, BLOCK_NUMBERS // len(centroids))
    for block, weight in zip(vectors.split(rows), weights.split(rows), strict=True):
        block = block.float()
        nearest = torch.addmm(half_norms.neg(), block, centroids.T).argmax(1)
        members = block.new_zeros(len(block), len(centroids)).scatter_(1, nearest[:, None], weight[:, None])
        sums.addmm_(members.T, block)
        masses += members.sum(dim=0)
    return sums, masses
