"""The levels of log-norm-q: one codebook for a matrix, a scale and a background for every row.

A row `p` becomes `q_j = scale * codebook[j] + background` (level 0, the background, is 0 and is not stored).
Its loss is `KL(p || q) = sum p log(p / q)`, weighted by how often the state is visited, plus a price for each
stored entry. Since rows sum to 1, an entry may be judged alone by `q - p log q`: two levels meet at their
logarithmic mean `(q_j - q_i) / log(q_j / q_i)`, and an entry is worth storing if `p log(q_j / background) -
(q_j - background)` exceeds the price. So every level covers an interval of probabilities, and counts and
masses of intervals (`MassHistogram`) are all that fitting needs. The codebook starts geometric and is refined
by Lloyd's iteration: intervals from levels, then rows from intervals, then levels from both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.quantization.mass_histogram import MassHistogram

SPANS = (2.0, 3.0, 4.0, 5.0)  # decades from the lowest to the highest level of the geometric codebooks tried
PHASES = 8  # positions of a row's peak between two levels that are tried
LLOYD_STEPS = 15
_NEWTON_STEPS = 6
_TINY = 1e-300
_SAME = 1e-9  # levels whose logarithms differ by less are one


class Levels(NamedTuple):
    """What a matrix is quantised to; float64 while fitting. K = 2^bits - 1 levels besides the background.

    Attributes:
        codebook: [K], positive, increasing, the highest near 1.
        scale: [H].
        background: [H].
    """

    codebook: Tensor
    scale: Tensor
    background: Tensor

    def values(self) -> Tensor:
        """The probability of each level in each row, [H, K]."""
        return self.scale[:, None] * self.codebook + self.background[:, None]


class Intervals(NamedTuple):
    """Entries and mass in the interval of the background (first column) and of every level: 2 x [H, K + 1].

    Attributes:
        entries: how many, [H, K + 1].
        mass: their sum, [H, K + 1].
    """

    entries: Tensor
    mass: Tensor


def fit_levels(
    histogram: MassHistogram, occupancy: Tensor, bits: int, threshold: float, start: Tensor | None = None
) -> Levels:
    """Levels that make `sum_h occupancy[h] KL_h + threshold * entries` small.

    Args:
        histogram: of the matrix.
        occupancy: float64 [H], > 0, sums to 1.
        bits: of a code, 1 to 8.
        threshold: nats per token that an entry must gain, >= 0.
        start: a codebook [K] to refine; where None, geometric codebooks of SPANS are tried and the best is kept.
    """
    price = threshold / occupancy
    peak = histogram.peak
    if start is not None:
        candidates = [start]
    else:
        levels = 2**bits - 1
        spans = SPANS if levels > 1 else (0.0,)
        candidates = [torch.logspace(-span, 0, levels, dtype=torch.float64, device=peak.device) for span in spans]
    fits = [_refine(histogram, occupancy, price, codebook) for codebook in candidates]
    costs = [float((occupancy * row_costs(histogram, levels, price)).sum()) for levels in fits]
    return fits[costs.index(min(costs))]


def boundaries(levels: Levels, price: Tensor) -> Tensor:
    """The probability above which an entry takes each level, [H, K], not decreasing along a row.

    Args:
        levels: of the matrix.
        price: nats that an entry of the row must gain to be stored, [H].
    """
    values, background = levels.values(), levels.background[:, None].clamp_min(_TINY)
    gain = torch.log(values / background)
    stored = torch.where(gain > _SAME, (values - background + price[:, None]) / gain.clamp_min(_SAME), torch.inf)
    least = stored.amin(1, keepdim=True)
    low, high = values[:, :-1], values[:, 1:]
    apart = torch.log(high / low)
    means = torch.where(apart > _SAME, (high - low) / apart.clamp_min(_SAME), high)
    return torch.cat([least, torch.maximum(means, least)], 1).cummax(1).values


def intervals(histogram: MassHistogram, edges: Tensor) -> Intervals:
    """Counts and masses of the intervals between `edges` [H, K].

    Args:
        histogram: of the matrix.
        edges: not decreasing along a row, [H, K].
    """
    count, mass = histogram.above(edges)
    everything = torch.full_like(count[:, :1], histogram.size), histogram.mass_above[:, :1]
    nothing = torch.zeros_like(count[:, :1])
    return Intervals(
        -torch.cat([everything[0], count, nothing], 1).diff(),
        -torch.cat([everything[1], mass, nothing], 1).diff().clamp_max(0),
    )


def fit_rows(codebook: Tensor, parts: Intervals, size: int) -> Levels:
    """Scale and background of every row with the least KL, given which entries take which level; rows sum to 1.

    With `S = sum count * codebook` normalisation leaves one unknown, `q_j = c_j / S + background * (1 - size
    * c_j / S)`; the KL is convex in it. A row without entries is uniform.

    Args:
        codebook: [K].
        parts: which entries take which level.
        size: N, columns of the matrix.
    """
    total = (parts.entries[:, 1:] * codebook).sum(1)
    stores = total > 0
    total = torch.where(stores, total, 1)
    share = torch.cat([torch.zeros_like(total)[:, None], codebook / total[:, None]], 1)
    slope = 1 - size * share
    background = (parts.mass[:, 0] / parts.entries[:, 0].clamp_min(1)).clamp(_TINY, 1 / size)
    for _ in range(_NEWTON_STEPS):
        value = (share + background[:, None] * slope).clamp_min(_TINY)
        force = parts.mass * slope / value
        gradient, curvature = -force.sum(1), (force * slope / value).sum(1).clamp_min(_TINY)
        step = background - gradient / curvature
        background = torch.minimum(torch.maximum(step, background / 4), (background + 1 / size) / 2)
    background = torch.where(parts.mass[:, 0] > 0, background, 0)
    background = torch.where(stores, background, 1 / size)
    return Levels(codebook, torch.where(stores, (1 - size * background) / total, 0), background)


def row_costs(histogram: MassHistogram, levels: Levels, price: Tensor) -> Tensor:
    """KL(p || q) + price * entries of every row, [H], for the best rows with the intervals of these levels.

    Args:
        histogram: of the matrix.
        levels: of the matrix.
        price: nats that an entry of the row must gain to be stored, [H].
    """
    parts = intervals(histogram, boundaries(levels, price))
    fitted = fit_rows(levels.codebook, parts, histogram.size)
    values = torch.cat([fitted.background[:, None], fitted.values()], 1).clamp_min(_TINY)
    divergence = histogram.negative_entropy - torch.special.xlogy(parts.mass, values).sum(1)
    return divergence + price * parts.entries[:, 1:].sum(1)


def _refine(histogram: MassHistogram, occupancy: Tensor, price: Tensor, codebook: Tensor) -> Levels:
    levels = _best_phase(histogram, price, codebook)
    for _ in range(LLOYD_STEPS):
        parts = intervals(histogram, boundaries(levels, price))
        codebook = _refit_codebook(levels, parts, occupancy)
        levels = fit_rows(codebook / codebook[-1], parts, histogram.size)
    return levels


def _best_phase(histogram: MassHistogram, price: Tensor, codebook: Tensor) -> Levels:
    """Rows for a new codebook: the peak of each is placed at several points between two levels, the best is kept."""
    ratio = float(codebook[-1] / codebook[-2]) if len(codebook) > 1 else 4.0
    uniform = torch.full_like(histogram.peak, 1 / histogram.size)
    best = Levels(codebook, torch.zeros_like(uniform), uniform)
    least = row_costs(histogram, best, price)
    for phase in range(PHASES):
        scale = histogram.peak * ratio ** (phase / PHASES - 0.5)
        levels = Levels(codebook, scale, 0.05 * uniform)
        for _ in range(2):
            levels = fit_rows(codebook, intervals(histogram, boundaries(levels, price)), histogram.size)
        costs = row_costs(histogram, levels, price)
        better = costs < least
        least = torch.where(better, costs, least)
        best = Levels(
            codebook,
            torch.where(better, levels.scale, best.scale),
            torch.where(better, levels.background, best.background),
        )
    return best


def _refit_codebook(levels: Levels, parts: Intervals, occupancy: Tensor) -> Tensor:
    """Every level where it loses least over all rows: Newton on `sum_h occupancy scale (count - mass / q) = 0`."""
    codebook, scale = levels.codebook, levels.scale[:, None]
    weight = occupancy[:, None] * scale
    wanted = (weight * parts.entries[:, 1:]).sum(0)
    for _ in range(3):
        value = (scale * codebook + levels.background[:, None]).clamp_min(_TINY)
        given = weight * parts.mass[:, 1:] / value
        curvature = (given * scale / value).sum(0)
        step = codebook - (wanted - given.sum(0)) / curvature.clamp_min(_TINY)
        codebook = torch.where(curvature > 0, step.clamp(codebook / 2, codebook * 2), codebook)
    return codebook.sort().values
