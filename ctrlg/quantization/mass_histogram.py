"""A row-stochastic matrix boiled down to what a quantiser needs: how many entries, and how much mass, lie
above a value.

Quantising rows by thresholds (every level covers an interval of probabilities) needs no entry twice: counts
and masses of the intervals give the optimal levels, scales, backgrounds and the divergence. Entries are
binned by `log2 p`, BINS_PER_OCTAVE to a factor of two, so that a fit costs the same for 50 columns and for
50,000.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BINS_PER_OCTAVE = 16  # a bin is 4.4 % wide
OCTAVES = 48  # what is below 2^-48 shares the lowest bin
_BLOCK_ENTRIES = 1 << 22  # entries binned at a time


class MassHistogram(NamedTuple):
    """Rows of a matrix [H, N], each normalised to 1, as cumulative histograms; all tensors float64.

    Attributes:
        count_above: entries > 0 in bin k or higher, [H, bins + 1].
        mass_above: their mass, [H, bins + 1].
        negative_entropy: sum of p log p, [H].
        peak: largest entry, [H].
        size: N.
    """

    count_above: Tensor
    mass_above: Tensor
    negative_entropy: Tensor
    peak: Tensor
    size: int

    def above(self, threshold: Tensor) -> tuple[Tensor, Tensor]:
        """Count and mass of the entries of every row above each of its thresholds (to a bin): [H, K] -> 2 x [H, K].

        Args:
            threshold: [H, K].
        """
        place = _position(threshold).ceil().clamp_(0, BINS_PER_OCTAVE * OCTAVES).long()
        return self.count_above.gather(1, place), self.mass_above.gather(1, place)


def mass_histogram(p: Tensor) -> MassHistogram:
    """The histogram of the rows of `p` [H, N], non-negative; rows are normalised first.

    Args:
        p: float [H, N], >= 0.
    """
    states, size = p.shape
    bins = BINS_PER_OCTAVE * OCTAVES
    count = torch.zeros(states, bins + 1, dtype=torch.float64, device=p.device)
    mass = torch.zeros_like(count)
    negative_entropy, peak = torch.zeros_like(count[:, 0]), torch.zeros_like(count[:, 0])
    for rows in row_blocks(p):
        block = normalised_rows(p, rows)
        place = _position(block).floor_().clamp_(0, bins - 1).long()
        count[rows].scatter_add_(1, place, (block > 0).double())
        mass[rows].scatter_add_(1, place, block)
        negative_entropy[rows] = torch.special.xlogy(block, block).sum(1)
        peak[rows] = block.amax(1)
    return MassHistogram(_from_above(count), _from_above(mass), negative_entropy, peak, size)


def row_blocks(p: Tensor) -> list[slice]:
    """Slices of rows small enough to be held in float64 beside the matrix.

    Args:
        p: float [H, N], >= 0.
    """
    step = max(1, _BLOCK_ENTRIES // p.shape[1])
    return [slice(start, min(start + step, p.shape[0])) for start in range(0, p.shape[0], step)]


def normalised_rows(p: Tensor, rows: slice) -> Tensor:
    """Some rows of `p` in float64, each divided by its sum.

    Args:
        p: float [H, N], >= 0.
        rows: which.
    """
    block = p[rows].double()
    return block / block.sum(1, keepdim=True)


def _position(value: Tensor) -> Tensor:
    """Where a probability lies on the axis of bins, as a real number."""
    return (torch.log2(value.clamp_min(1e-300)) + OCTAVES) * BINS_PER_OCTAVE


def _from_above(histogram: Tensor) -> Tensor:
    return histogram.flip(1).cumsum(1).flip(1)
