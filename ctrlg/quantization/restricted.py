"""The M-step of EM for a matrix held as codes, with the stored entries fixed.

A row `q[v] = scale * level[code[v]] + background` is a mixture `(1 - w) * shape[v] + w / N` of its shape, `level[code]`
divided by its sum, and the uniform distribution; `w = N * background`. Expected counts `n[h, v]` (of EM, Rabiner 1989,
sec. III.C) are explained best by the maximum of `sum n log q`. For counts of row sum `n[h]` this is also the maximum of

    F = sum_hv n[h, v] log q[h, v] - n[h] q[h, v]

without the constraint that rows sum to 1, since scaling a row is part of its freedom. F is concave in the weights of
the rows, concave in every level, and splits over the codes of the entries, so that taking turns never lowers it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.matrices import CompressedMatrix
from ctrlg.quantization.codebook import Intervals

ROUNDS = 2  # turns of levels, codes and rows in an M-step; the next E-step moves the counts anyway
WIDER = 2.0  # factor by which the range of the codebook may grow in one turn
LEAST_LEVEL = 1e-12  # of the highest level
_NEWTON_STEPS = 60
_CONVERGED = 1e-13  # relative change at which Newton stops
_TINY = 1e-300


class CodedRows(NamedTuple):
    """A compressed matrix [H, N] while it is fitted; reals are float64, integers int64.

    Attributes:
        row: of each stored entry, row after row, [E].
        column: of each stored entry, [E].
        codes: of each stored entry, [E]; code 0 is the background.
        codebook: [L], codebook[0] = 0 and the others positive.
        scale: [H].
        background: [H].
        size: N.
    """

    row: Tensor
    column: Tensor
    codes: Tensor
    codebook: Tensor
    scale: Tensor
    background: Tensor
    size: int


class EntryCounts(NamedTuple):
    """Expected counts of a matrix as far as a fit needs them: of the stored entries [E], and of whole rows [H].

    Attributes:
        stored: of the stored entries, [E].
        total: of whole rows, [H].
    """

    stored: Tensor
    total: Tensor

    def plus(self, other: EntryCounts, weight: float | Tensor = 1.0) -> EntryCounts:
        """These counts and `weight` times the others.

        Args:
            other: to add.
            weight: of the others.
        """
        return EntryCounts(self.stored + weight * other.stored, self.total + weight * other.total)


def coded_rows(matrix: CompressedMatrix) -> CodedRows:
    """The matrix as its entries; the dense layout stores every entry whose code is not 0.

    Args:
        matrix: compressed, [H, N].
    """
    states, size = matrix.shape
    if matrix.layout == "dense":
        row, column = matrix.codes.nonzero(as_tuple=True)
        codes = matrix.codes[row, column]
    else:
        indptr, column, codes = matrix.row_entries()
        row = torch.repeat_interleave(torch.arange(states, device=column.device), indptr.diff())
    return CodedRows(
        row,
        column.long(),
        codes.long(),
        matrix.codebook.double(),
        matrix.scale.double(),
        matrix.background.double(),
        size,
    )


def compressed(rows: CodedRows, layout: str) -> CompressedMatrix:
    """The matrix of these entries in a layout, in float32, with its levels in rising order and the highest at 1.

    Args:
        rows: a compressed matrix while it is fitted.
        layout: dense or sparse.
    """
    codebook, order = rows.codebook.sort(stable=True)
    codebook = (codebook / codebook[-1]).float() if float(codebook[-1]) > 0 else codebook.float()
    codes = order.argsort()[rows.codes]
    rows = rows._replace(codes=codes, codebook=codebook.double())
    rows = _normalised(rows, rows.background * rows.size)
    states, levels = len(rows.scale), (rows.scale.float(), rows.background.float(), codebook)
    if layout == "dense":
        grid = torch.zeros(states, rows.size, dtype=torch.uint8, device=codes.device)
        grid[rows.row, rows.column] = codes.to(torch.uint8)
        return CompressedMatrix.from_codes(grid, *levels)
    indptr = torch.zeros(states + 1, dtype=torch.int64, device=codes.device)
    indptr[1:] = torch.bincount(rows.row, minlength=states).cumsum(0)
    return CompressedMatrix.from_rows(indptr, rows.column, codes, *levels, shape=(states, rows.size))


def entry_counts(rows: CodedRows, counts: Tensor) -> EntryCounts:
    """Counts [H, N] (or a transposed view of [N, H]) at the stored entries, float64.

    Args:
        rows: a compressed matrix while it is fitted.
        counts: expected counts, [H, N].
    """
    return EntryCounts(counts[rows.row, rows.column].double(), counts.sum(1, dtype=torch.float64))


def restricted_maximum(rows: CodedRows, counts: EntryCounts, rounds: int = ROUNDS) -> CodedRows:
    """Rows and levels that explain the counts better, codes as they are; never worse.

    Args:
        rows: a compressed matrix while it is fitted.
        counts: >= 0; a row without counts keeps its background. For the levels it returns, the rows are the maximum of
            `sum n log q`; with rounds enough, so are the levels for the rows (of both together a stationary point,
            which a row that has become uniform no longer moves).
        rounds: of the fit of rows and of levels, in turn.
    """
    rows = fit_row_weights(rows, code_counts(rows, counts))
    for _ in range(rounds):
        rows = fit_codebook(rows, code_counts(rows, counts), counts.total)
        rows = fit_row_weights(rows, code_counts(rows, counts))
    return rows


def code_counts(rows: CodedRows, counts: EntryCounts) -> Intervals:
    """How many entries of every row have each code, and their expected counts: 2 x [H, L].

    Args:
        rows: a compressed matrix while it is fitted.
        counts: expected counts.
    """
    states, levels = len(rows.scale), len(rows.codebook)
    place = rows.row * levels + rows.codes
    entries = torch.bincount(place, minlength=states * levels).double().reshape(states, levels)
    mass = torch.zeros_like(entries).flatten().index_add_(0, place, counts.stored).reshape(states, levels)
    entries[:, 0] = rows.size - entries[:, 1:].sum(1)
    mass[:, 0] = (counts.total - mass[:, 1:].sum(1)).clamp_min(0)
    return Intervals(entries, mass)


def fit_row_weights(rows: CodedRows, parts: Intervals) -> CodedRows:
    """Every row with the weight of its background at the maximum of `sum mass log q`, by Newton inside a bracket.

    Args:
        rows: a compressed matrix while it is fitted.
        parts: of `code_counts`.
    """
    sums = (parts.entries * rows.codebook).sum(1)
    stores = sums > 0
    shape = rows.codebook / torch.where(stores, sums, 1)[:, None]
    direction = 1 / rows.size - shape
    counted = parts.mass > 0

    def slopes(weight: Tensor) -> tuple[Tensor, Tensor]:
        ratio = torch.where(counted, direction / (shape + weight[:, None] * direction).clamp_min(_TINY), 0)
        force = parts.mass * ratio
        return force.sum(1), (force * ratio).sum(1)

    low, high = torch.zeros_like(sums), torch.ones_like(sums)
    weight = rows.size * parts.mass[:, 0] / (parts.entries[:, 0] * parts.mass.sum(1)).clamp_min(_TINY)
    weight = weight.clamp(0, 1)
    for _ in range(_NEWTON_STEPS):
        slope, curvature = slopes(weight)
        low, high = torch.where(slope >= 0, weight, low), torch.where(slope <= 0, weight, high)
        step = weight + slope / curvature.clamp_min(_TINY)
        following = torch.where((step >= low) & (step <= high), step, (low + high) / 2)
        moved = (following - weight).abs() > _CONVERGED * weight
        weight = following
        if not moved.any():
            break
    weight = torch.where(slopes(torch.zeros_like(weight))[0] <= 0, 0, weight)
    weight = torch.where(counted.any(1), weight, rows.background * rows.size)
    return _normalised(rows, torch.where(stores, weight, 1))


def fit_codebook(rows: CodedRows, parts: Intervals, total: Tensor) -> CodedRows:
    """Every level at the maximum of F, rows as they are. The slope of F is convex and falls: Newton cannot leave.

    Levels stay within the range of the codebook, widened by WIDER and bounded by LEAST_LEVEL: one that only nearly
    uniform rows use hardly matters to them, and would else drift off by many decades.

    Args:
        rows: a compressed matrix while it is fitted.
        parts: of `code_counts`.
        total: expected counts of whole rows, [H].
    """
    codebook = rows.codebook.clone()
    positive = codebook[codebook > 0]
    if not len(positive):
        return rows
    highest, lowest = positive.max() * WIDER, torch.maximum(positive.min() / WIDER, positive.max() * LEAST_LEVEL)
    lower, upper = torch.minimum(codebook, lowest), torch.maximum(codebook, highest)
    wanted = (total[:, None] * rows.scale[:, None] * parts.entries).sum(0)
    used = (parts.mass * rows.scale[:, None]).sum(0) > 0
    used[0] = False
    for _ in range(_NEWTON_STEPS):
        ratio = rows.scale[:, None] / (rows.scale[:, None] * codebook + rows.background[:, None]).clamp_min(_TINY)
        given = parts.mass * ratio
        step = codebook + (given.sum(0) - wanted) / (given * ratio).sum(0).clamp_min(_TINY)
        step = step.clamp(codebook / 2, codebook * 2).clamp(lower, upper)
        following = torch.where(used, step, codebook)
        moved = (following - codebook).abs() > _CONVERGED * codebook
        codebook = following
        if not moved.any():
            break
    return rows._replace(codebook=codebook)


def _normalised(rows: CodedRows, weight: Tensor) -> CodedRows:
    """Rows that sum to 1 with this weight of the background; rows without entries are uniform."""
    sums = torch.zeros_like(rows.scale).index_add_(0, rows.row, rows.codebook[rows.codes])
    stores = sums > 0
    weight = torch.where(stores, weight, 1)
    return rows._replace(
        scale=torch.where(stores, (1 - weight) / torch.where(stores, sums, 1), 0), background=weight / rows.size
    )
