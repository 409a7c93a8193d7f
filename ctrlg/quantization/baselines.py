"""Quantisers as functions of rows alone, dense in and dense out, for EM that is aware of them and for comparisons.

Beside Norm-Q and log-norm-q: the variant of Norm-Q in its published code (a linear grid up to the largest entry of the
matrix, `q = round(p / step) * step` with `step = max(p) / (2^b - 1)`), and k-means over the entries of the matrix.
Both normalise rows afterwards, with a small constant that keeps everything possible.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization.log_norm_q import log_norm_q, state_occupancy
from ctrlg.quantization.norm_q import EPS, norm_q
from ctrlg.quantization.rows import check_bits, check_rows

PSEUDOCOUNT = 0.001  # of norm-q-max, spread over a row
LLOYD_STEPS = 300  # at most; a run ends when no interval changes
_BIN_SHIFT = 12  # low bits of a float32 that a bin of the histogram ignores: bins are 2^-11 wide, relative
_BLOCK_ENTRIES = 1 << 22  # entries worked on at a time, to bound the temporary memory


def norm_q_max(p: Tensor, bits: int, pseudocount: float = PSEUDOCOUNT) -> Tensor:
    """Every row of `p` on a linear grid from 0 to the matrix' largest entry, normalised; same shape and type.

    p: float32 or float64 [H, N], rows sum to 1. bits: 1 to 16; the grid has 2^bits - 1 steps. pseudocount: >= 0, spread
    over a row before it is normalised. Raises ArgumentError for rows that are no distributions and bits or pseudocount
    out of range. (The published code writes the number of steps as `2 ^ bits - 1`, which Python reads as `2 XOR (bits -
    1)`: 5 steps at 8 bits, 1 at 4, none at 3.)
    """
    check_bits(bits, 16)
    check_rows(p)
    if not pseudocount >= 0:
        raise ArgumentError(f"pseudocount is {pseudocount}", hint="0 or more; the published code takes 0.001")
    step = p.amax() / (2**bits - 1)
    return _normalised((p / step).round_().mul_(step), pseudocount / p.shape[1])


def k_means(p: Tensor, bits: int, seed: int = 0) -> Tensor:
    """Every entry of `p` replaced by the nearest of 2^bits centroids of all entries, rows normalised; same shape, type.

    p: float32 or float64 [H, N], rows sum to 1. bits: 1 to 8. seed: of the first centroids (k-means++). Lloyd's
    iteration runs on a histogram of all entries, with bins 0.05 % wide that know their counts and sums.
    Raises ArgumentError for rows that are no distributions and bits out of range.
    """
    check_bits(bits, 8)
    check_rows(p)
    points = centroids(p, 2**bits, seed)
    edges = torch.from_numpy((points[1:] + points[:-1]) / 2).to(p)
    values = torch.from_numpy(points).to(p)
    return _normalised(values[torch.bucketize(p.contiguous(), edges)], EPS)


def centroids(p: Tensor, count: int, seed: int) -> np.ndarray:
    """At most `count` centroids of the entries of p, increasing, float64; fewer where p has fewer distinct bins."""
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


METHODS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "norm-q": norm_q,
    "norm-q-max": norm_q_max,
    "log-norm-q": log_norm_q,
    "k-means": k_means,
}
MOST_BITS = {"norm-q": 16, "norm-q-max": 16, "log-norm-q": 8, "k-means": 8}


def check_method(method: str, bits: int) -> None:
    """Raise ArgumentError unless `method` is one of METHODS and takes so many bits."""
    if method not in METHODS:
        raise ArgumentError(f"quantization method is {method!r}", hint=f"one of {', '.join(METHODS)}")
    check_bits(bits, MOST_BITS[method])


def quantize_rows(p: Tensor, method: str, bits: int) -> Tensor:
    """The rows of `p` as probabilities that `method` can store in `bits` bits an entry; same shape and type.

    p: float32 or float64 [H, N], rows sum to 1. method: a key of METHODS. bits: 1 to MOST_BITS[method].
    Raises ArgumentError for an unknown method, bits out of range, and rows that are no distributions.
    """
    check_method(method, bits)
    return METHODS[method](p, bits)


def quantize_distributions(
    transition: Tensor, emission: Tensor, initial: Tensor, method: str, bits: int
) -> tuple[Tensor, Tensor]:
    """Quantised rows of transition [H, H] and emission [H, V]; log-norm-q learns from `initial` [H] which count most.

    Arguments and errors as for quantize_rows.
    """
    transition, emission = transition.contiguous(), emission.contiguous()  # rows are what is worked on
    if method == "log-norm-q":
        occupancy = state_occupancy(initial, transition)
        return log_norm_q(transition, bits, occupancy=occupancy), log_norm_q(emission, bits, occupancy=occupancy)
    return quantize_rows(transition, method, bits), quantize_rows(emission, method, bits)


def _normalised(q: Tensor, constant: float) -> Tensor:
    """q + constant, each row divided by its sum; a row of zeros becomes uniform. Overwrites q."""
    q = q.add_(constant)
    total = q.sum(1, keepdim=True, dtype=torch.float64)
    return torch.where(total > 0, q / torch.where(total > 0, total, 1).to(q.dtype), 1 / q.shape[1])


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
    kept = entries > 0
    return entries[kept].cpu().numpy(), sums[kept].cpu().numpy()


def _first_centroids(means: np.ndarray, entries: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """k-means++ (Arthur and Vassilvitskii, 2007): each centroid is drawn by its distance to those there are."""
    chosen = [means[generator.choice(len(means), p=entries / entries.sum())]]
    distance = (means - chosen[0]) ** 2
    for _ in range(count - 1):
        weight = (entries * distance).cumsum()
        drawn = np.searchsorted(weight, generator.random() * weight[-1], side="right")
        chosen.append(means[min(int(drawn), len(means) - 1)])
        distance = np.minimum(distance, (means - chosen[-1]) ** 2)
    return np.sort(np.array(chosen))
