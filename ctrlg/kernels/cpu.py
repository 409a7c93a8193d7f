"""The operations of a compressed matrix on the CPU: torch tensors in and out, the work in numba.

    M = diag(scale) @ levels[codes] + background,  so  x @ M = (x * scale) @ levels[codes] + x @ background

Importing this module imports numba; `ctrlg.kernels.cpu_kernels` does so when a kernel is first needed. What a
function computes is defined by its namesake in `reference`. Tensors are float32 on the CPU.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ctrlg.kernels import log_ratios, products
from ctrlg.kernels.lanes import LANES
from ctrlg.kernels.scoring import HEADROOM, ScoringStep
from ctrlg.kernels.threads import parts_of, run, run_parts


class SparseColumns(Protocol):
    """What these kernels need of a matrix: its entries in column order, and what gives them values."""

    column_starts: Tensor
    row_of_entry: Tensor
    codes: Tensor
    codebook: Tensor
    scale: Tensor
    background: Tensor

    @property
    def shape(self) -> tuple[int, int]: ...


def left(matrix: SparseColumns, x: Tensor) -> Tensor:
    """`x @ M`: [B, H] -> [B, N]."""
    out = torch.empty(len(x), matrix.shape[1], dtype=torch.float32)
    # Work is counted in multiply-adds: one for each stored entry and each row of x.
    run(products.left, len(x) * len(matrix.codes), _entries(matrix), _numpy(x), out.numpy())
    return out


def right(matrix: SparseColumns, y: Tensor) -> Tensor:
    """`y @ M.T`: [S, N] -> [S, H]."""
    out = torch.empty(len(y), matrix.shape[0], dtype=torch.float32)
    run(products.right, len(y) * len(matrix.codes), _entries(matrix), _numpy(y), out.numpy())
    return out


def columns(matrix: SparseColumns, ids: Tensor) -> Tensor:
    """`M[:, ids].T`: int64 [n] in [-1, N) -> [n, H]; -1 gives ones."""
    out = torch.empty(len(ids), matrix.shape[0], dtype=torch.float32)
    run(products.columns, out.numel(), _entries(matrix), _numpy(ids.long()), out.numpy())
    return out


def class_sums(matrix: SparseColumns, class_of: Tensor, num_classes: int) -> Tensor:
    """Sum of the columns of each class: int [N] in [0, K) -> [K, H]."""
    out = torch.empty(num_classes, matrix.shape[0], dtype=torch.float32)
    products.class_sums(_entries(matrix), _numpy(class_of.int()), out.numpy())
    return out


def scores(
    matrix: SparseColumns,
    step: ScoringStep,
) -> Tensor:
    """Log-ratios [B, N]."""
    out = torch.empty(len(step.predictive), matrix.shape[1], dtype=torch.float32)
    _log_ratios(matrix, step, None, out)
    return out


def add_scores(
    matrix: SparseColumns,
    log_probs: Tensor,
    step: ScoringStep,
    out: Tensor,
) -> Tensor:
    """`log_probs + scores` into `out`, contiguous [B, N], may be `log_probs`; returns its rows' log-sum-exp [B]."""
    return _log_ratios(matrix, step, log_probs, out)


def decode(codes: Tensor, codebook: Tensor, scale: Tensor, background: Tensor, start: int, stop: int) -> Tensor:
    """Columns start .. stop - 1 of the dense layout, float32 [H, stop - start]; codes: uint8 [H, N]."""
    out = torch.empty(len(codes), stop - start, dtype=torch.float32)
    levels = (_numpy(codebook), _numpy(scale), _numpy(background))
    run(products.decode, out.numel(), codes.numpy(), *levels, start, out.numpy())
    return out


def _log_ratios(
    matrix: SparseColumns,
    step: ScoringStep,
    log_probs: Tensor | None,
    out: Tensor,
) -> Tensor:
    weights, predictive, row_of, class_of = step
    m, rows = _with_headroom(_entries(matrix)), _numpy(row_of.int())
    # Classes that lead every sequence to the same rows of weights are one choice; there are often far fewer.
    choices, choice_of_class = _distinct_columns(rows)
    above, below = _numpy(weights), _numpy(predictive)
    above_start, above_peak = np.empty((2, len(above)), np.float32)
    below_start, below_peak, unit, log_peak = np.empty((4, len(below)), np.float32)
    # `m` has its headroom by now, so the background's shares have it too: 2^60 cancels in every quotient.
    run(log_ratios.starts_and_peaks, above.size, above, m.background, above_start, above_peak)
    run(log_ratios.starts_and_peaks, below.size, below, m.background, below_start, below_peak)
    log_ratios.units(above_peak, rows, unit, log_peak)
    mixtures = log_ratios.Mixtures(above, above_start, choices, unit, log_peak, below, below_start)

    # Without tables yet: the denominators' entries and what every token costs beside them.
    parts = parts_of(len(below) * (len(m.codes) + log_ratios.TOKEN_COST * out.shape[1]))
    live, tiles = (choices >= 0).any(axis=1), -(-len(below) // LANES)
    # Which choices get tables, and where each part begins; parts share nothing but what they read.
    plan = log_ratios.plan(m.starts, _numpy(class_of.int()), choice_of_class, live, len(m.scale), tiles, parts)
    peaks, masses = np.empty((parts, len(below)), np.float32), np.empty((parts, len(below)))
    joined = log_probs is not None
    # numba wants an array of the same type in any case; it is not read unless joined.
    added = _numpy(log_probs) if joined else out.numpy()
    arguments = (m, mixtures, log_ratios.Plan(*plan), added, joined, out.numpy(), peaks, masses)
    run_parts(log_ratios.log_ratios, parts, *arguments)
    return _log_sum(peaks.astype(np.float64), masses) if joined else torch.empty(0, dtype=torch.float32)


def _log_sum(peaks: np.ndarray, masses: np.ndarray) -> Tensor:
    """Log of the sum of masses * exp(peaks) over the first axis: [parts, B] -> float32 [B]."""
    # Log-sum-exp of the parts' own. A part without mass has the peak -inf, and -inf - (-inf) would be NaN.
    highest = peaks.max(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Everything is relative to the highest peak, so exponents are at most 0.
        total = (masses * np.exp(np.where(masses > 0, peaks - highest, 0))).sum(axis=0)
        return torch.from_numpy((np.where(total > 0, highest, 0) + np.log(total)).astype(np.float32))


def _with_headroom(m: products.Entries) -> products.Entries:
    # Levels of at most 1, the rest in the scale: levels[c] * weight stays below the weight, whatever the codebook's
    # unit. M becomes 2^60 M; 2^-126, where denormals begin, is then 2^-186 of the true product.
    largest = np.abs(m.levels).max() or np.float32(1)
    headroom = np.float32(HEADROOM)
    return m._replace(
        levels=m.levels / largest,
        scale=m.scale * (largest * headroom),
        background=m.background * headroom,
    )


def _distinct_columns(row_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct columns of int32 [B, K], as rows [choices, B]; and which of them each column is, int64 [K]."""
    by_class = np.ascontiguousarray(row_of.T)
    # A class is known by the bytes of its column. Choices are numbered as they are first met, so the first place of
    # each number, which np.unique gives in ascending order, picks one class for every choice.
    found: dict[bytes, int] = {}
    choice_of = np.array([found.setdefault(rows.tobytes(), len(found)) for rows in by_class], np.int64)
    return by_class[np.unique(choice_of, return_index=True)[1]], choice_of


def _entries(matrix: SparseColumns) -> products.Entries:
    return products.Entries(
        matrix.column_starts.numpy(),
        matrix.row_of_entry.numpy(),
        matrix.codes.numpy(),
        matrix.codebook.numpy(),
        matrix.scale.numpy(),
        matrix.background.numpy(),
    )


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
