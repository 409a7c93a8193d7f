"""k-means over all entries of a matrix: 2^b levels where the entries are, instead of on a grid.

Norm-Q (arXiv 2509.25439) is compared with it. Lloyd's iteration runs on a histogram of all entries, with bins 0.05 %
wide that know their counts and sums, so that a step costs the bins and not the entries. The methods `k_means` and
`k_means_unnormalised` cluster probabilities, those of the emission too. The script published with Norm-Q clusters the
emission and the initial distribution as logarithms: `cluster_logs`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization.norm_q import EPS
from ctrlg.quantization.rows import check_bits, check_entries, check_rows, normalise_rows_

LOG_TOLERANCE = 1e-4  # above 0, which the logarithm of a probability may be by rounding
LLOYD_STEPS = 300  # at most; a run ends when no interval changes
_BIN_SHIFT = 12  # low bits of a float32 that a bin of the histogram ignores: bins are 2^-11 wide, relative
_BLOCK_ENTRIES = 1 << 22  # entries worked on at a time, to bound the temporary memory


class Clusters(NamedTuple):
    """Entries of a matrix in clusters.

    Attributes:
        labels: int32, of the shape of the entries: for each its centroid.
        centroids: increasing, at most 2^bits, of the entries' type.
    """

    labels: Tensor
    centroids: Tensor

    def values(self) -> Tensor:
        """Every entry replaced by its centroid."""
        return self.centroids[self.labels]


def k_means(p: Tensor, bits: int, seed: int = 0) -> Tensor:
    """`k_means_unnormalised` of rows that sum to 1, normalized to do so again.

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        bits: 1 to 8.
        seed: of the first centroids (k-means++).

    Returns:
        The same shape and type.

    Raises:
        ArgumentError: rows that are no distributions, and as there.
    """
    check_rows(p)
    return normalise_rows_(k_means_unnormalised(p, bits, seed), EPS)


def k_means_unnormalised(p: Tensor, bits: int, seed: int = 0) -> Tensor:
    """Every entry of `p` replaced by the nearest of 2^bits centroids of all entries; same shape and type.

    Args:
        p: float32 or float64 [H, N], entries >= 0; rows that sum to 1 come back with other sums.
        bits: 1 to 8.
        seed: of the first centroids (k-means++).

    Returns:
        The same shape and type.

    Raises:
        ArgumentError: entries that are negative or not finite, and bits out of range.
    """
    return cluster(p, bits, seed).values()


def cluster(p: Tensor, bits: int, seed: int = 0) -> Clusters:
    """The clusters of all entries of `p`; errors as `k_means_unnormalised`.

    Args:
        p: float32 or float64 [H, N], entries >= 0.
        bits: 1 to 8.
        seed: of the first centroids (k-means++).
    """
    check_bits(bits, 8)
    check_entries(p)
    return _nearest(p, centroids(p, 2**bits, seed))


def cluster_logs(logs: Tensor, bits: int, seed: int = 0) -> Clusters:
    """The clusters of all entries of `logs`, logarithms of probabilities: float32 or float64 [H, N], at most 0, or a
    rounding error above.

    -inf, the logarithm of 0, is a centroid of its own where it occurs.

    Args:
        logs: [H, N], at most 0.
        bits: 1 to 8.
        seed: of the first centroids (k-means++).

    Raises:
        ArgumentError: larger entries, NaN, and bits out of range.
    """
    check_bits(bits, 8)
    entries = logs.neg()
    if not float(entries.amin()) >= -LOG_TOLERANCE:  # NaN included
        raise ArgumentError(
            f"the largest entry is {float(logs.amax()):.6g}", hint="give logarithms of probabilities: 0 or less"
        )
    entries = entries.clamp_min_(0)
    impossible = bool(torch.isinf(entries).any())
    points = -centroids(entries, 2**bits - impossible, seed)[::-1]
    return _nearest(logs, np.concatenate([[-np.inf], points]) if impossible else points)


def _nearest(values: Tensor, points: np.ndarray) -> Clusters:
    """points: increasing; the first may be -inf, to which no finite value is near."""
    edges = torch.from_numpy((points[1:] + points[:-1]) / 2).to(values)
    labels = torch.bucketize(values.contiguous(), edges, out_int32=True)
    return Clusters(labels, torch.from_numpy(points.copy()).to(values))


def centroids(p: Tensor, count: int, seed: int) -> np.ndarray:
    """At most `count` centroids of the finite entries of p, increasing, float64; fewer where it has fewer bins.

    Args:
        p: float32 or float64 [H, N], entries >= 0.
        count: of centroids, at most.
        seed: of the first centroids (k-means++).
    """
    entries, sums = _histogram(p)
    means = sums / entries
    if len(means) <= count:
        return means
    points = _first_centroids(means, entries, count, np.random.default_rng(seed))
    entries_below = np.concatenate([[0.0], entries.cumsum()])
    sums_below = np.concatenate([[0.0], sums.cumsum()])
    edges = np.array([])
    for _ in range(LLOYD_STEPS):
        moved = np.searchsorted(means, (points[1:] + points[:-1]) / 2)
        if np.array_equal(moved, edges):
            break
        edges = moved
        bounds = np.concatenate([[0], edges, [len(means)]])
        members = np.diff(entries_below[bounds])
        points = np.where(members > 0, np.diff(sums_below[bounds]) / np.maximum(members, 1), points)
    return points


def _histogram(p: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Counts and sums of the entries in every bin that holds any, by increasing value.

    The bits of a non-negative float32, read as an integer, grow with its value: their upper part names the bin.
    """
    bins = (0x7F800000 >> _BIN_SHIFT) + 1
    entries = torch.zeros(bins, dtype=torch.float64, device=p.device)
    sums = torch.zeros_like(entries)
    rows = max(1, _BLOCK_ENTRIES // p.shape[1])
    for block in p.split(rows):
        values = block.float().flatten()
        place = (values.abs().view(torch.int32) >> _BIN_SHIFT).long()
        entries += torch.bincount(place, minlength=bins)
        sums += torch.bincount(place, weights=values.double(), minlength=bins)
    entries[-1] = 0  # of infinity, which has no mean
    kept = entries > 0
    return entries[kept].cpu().numpy(), sums[kept].cpu().numpy()


def _first_centroids(means: np.ndarray, entries: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """k-means++ (Arthur and Vassilvitskii, 2007): each centroid is sampled by its distance to those there are."""
    chosen = [means[generator.choice(len(means), p=entries / entries.sum())]]
    distance = (means - chosen[0]) ** 2
    for _ in range(count - 1):
        weight = (entries * distance).cumsum()
        place = np.searchsorted(weight, generator.random() * weight[-1], side="right")
        chosen.append(means[min(int(place), len(means) - 1)])
        distance = np.minimum(distance, (means - chosen[-1]) ** 2)
    return np.sort(np.array(chosen))
