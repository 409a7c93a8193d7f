"""k-means in one dimension, for many rows at once.

Entries of a row are sorted, so a cluster is a run of them: its mean is a difference of cumulated sums, and the borders
are found by binary search. A step of Lloyd's algorithm costs a search for each level, not a pass over the entries.
"""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_levels(rows: Tensor, count: int, iterations: int) -> Tensor:
    """Every entry replaced by the nearest of its row's levels, [R, n].

    Args:
        rows: floating [R, n].
        count: of levels in a row.
        iterations: of Lloyd's algorithm, at most. It starts from equidistant levels and from quantiles; the better end
            is kept, row by row. A row of no more than `count` distinct values is returned as it is.
    """
    ordered = rows.sort(1).values.double()
    changes = ordered.diff(dim=1) != 0
    if bool((changes.sum(1) < count).all()):
        return rows.clone()
    starts = (_equidistant(ordered, count), _quantiles(ordered, count))
    candidates = [_rounded(rows, _lloyd(ordered, start, iterations).to(rows.dtype)) for start in starts]
    errors = [(candidate - rows).double().square().sum(1, keepdim=True) for candidate in candidates]
    best = torch.where(errors[0] <= errors[1], *candidates)
    return torch.where(changes.sum(1, keepdim=True) < count, rows, best)


def _lloyd(ordered: Tensor, levels: Tensor, iterations: int) -> Tensor:
    """Levels [R, count], ascending, after so many steps or when none moves; an empty cluster keeps its level."""
    zero = ordered.new_zeros(len(ordered), 1)
    sums = torch.cat([zero, ordered.cumsum(1)], 1)
    for _ in range(iterations):
        borders = torch.searchsorted(ordered, _middles(levels))
        ends = torch.cat([borders, torch.full_like(borders[:, :1], ordered.shape[1])], 1)
        sizes = torch.diff(ends, prepend=torch.zeros_like(ends[:, :1]))
        totals = torch.diff(sums.gather(1, ends), prepend=zero)
        moved = torch.where(sizes > 0, totals / sizes.clamp_min(1), levels)
        if torch.equal(moved, levels):
            break
        levels = moved
    return levels


def _rounded(rows: Tensor, levels: Tensor) -> Tensor:
    return levels.gather(1, torch.searchsorted(_middles(levels).contiguous(), rows.contiguous()))


def _middles(levels: Tensor) -> Tensor:
    return ((levels[:, :-1] + levels[:, 1:]) / 2).contiguous()


def _equidistant(ordered: Tensor, count: int) -> Tensor:
    share = torch.linspace(0, 1, count, dtype=ordered.dtype, device=ordered.device)
    return ordered[:, :1] + (ordered[:, -1:] - ordered[:, :1]) * share


def _quantiles(ordered: Tensor, count: int) -> Tensor:
    share = (torch.arange(count, dtype=torch.float32, device=ordered.device) + 0.5) / count
    return ordered[:, (share * ordered.shape[1]).long()]
