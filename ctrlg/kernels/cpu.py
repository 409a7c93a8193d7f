"""The operations of a compressed matrix on the CPU: torch tensors in and out, the work in `compiled` (numba).

    M = diag(scale) @ levels[codes] + background,  so  x @ M = (x * scale) @ levels[codes] + x @ background

Importing this module imports numba; `ctrlg.kernels.cpu_kernels` does so when a kernel is first needed. What a
function computes is defined by its namesake in `reference`. Tensors are float32 on the CPU.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numba
import numpy as np
import torch
from torch import Tensor

from ctrlg.kernels import compiled

HEADROOM = np.float32(2.0**60)
"""Numerator and denominator are multiplied by it, so that small ones stay clear of denormals."""

_ONE_CALLER = threading.Lock()  # numba's simplest threading layer dies when two Python threads use it at once


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
    out = torch.empty(len(x), matrix.shape[1])
    m, batch = _entries(matrix), _numpy(x)
    with _threads() as threads:
        compiled.left(m, _tiles(batch, m.scale), _in_tiles(batch @ m.background), out.numpy(), threads)
    return out


def right(matrix: SparseColumns, y: Tensor) -> Tensor:
    """`y @ M.T`: [S, N] -> [S, H]."""
    out = torch.empty(len(y), matrix.shape[0])
    with _threads():
        compiled.right(_entries(matrix), _numpy(y), out.numpy())
    return out


def columns(matrix: SparseColumns, ids: Tensor) -> Tensor:
    """`M[:, ids].T`: int64 [n] in [-1, N) -> [n, H]; -1 gives ones."""
    out = torch.empty(len(ids), matrix.shape[0])
    with _threads():
        compiled.columns(_entries(matrix), _numpy(ids.long()), out.numpy())
    return out


def class_sums(matrix: SparseColumns, class_of: Tensor, num_classes: int) -> Tensor:
    """Sum of the columns of each class: int [N] in [0, K) -> [K, H]."""
    out = torch.empty(num_classes, matrix.shape[0])
    compiled.class_sums(_entries(matrix), _numpy(class_of.int()), out.numpy())
    return out


def scores(matrix: SparseColumns, weights: Tensor, predictive: Tensor, row_of: Tensor, class_of: Tensor) -> Tensor:
    """Log-ratios [B, N]."""
    out = torch.empty(len(predictive), matrix.shape[1])
    _log_ratios(matrix, weights, predictive, row_of, class_of, None, out)
    return out


def add_scores(
    matrix: SparseColumns,
    log_probs: Tensor,
    weights: Tensor,
    predictive: Tensor,
    row_of: Tensor,
    class_of: Tensor,
    out: Tensor,
) -> Tensor:
    """`log_probs + scores` into `out`, contiguous [B, N], may be `log_probs`; returns its rows' log-sum-exp [B]."""
    return _log_ratios(matrix, weights, predictive, row_of, class_of, log_probs, out)


def decode(codes: Tensor, codebook: Tensor, scale: Tensor, background: Tensor) -> Tensor:
    """`scale * codebook[codes] + background` for uint8 [n, m], scale and background [n]; float32 [n, m]."""
    out = torch.empty(codes.shape)
    with _threads():
        compiled.decode(codes.numpy(), _numpy(codebook), _numpy(scale), _numpy(background), out.numpy())
    return out


def _log_ratios(
    matrix: SparseColumns,
    weights: Tensor,
    predictive: Tensor,
    row_of: Tensor,
    class_of: Tensor,
    log_probs: Tensor | None,
    out: Tensor,
) -> Tensor:
    m, below = _with_headroom(_entries(matrix)), _numpy(predictive)
    w = compiled.Weights(_numpy(weights), *(np.empty(len(weights), np.float32) for _ in range(3)))
    choices, choice_of_class = _distinct_columns(_numpy(row_of.int()))
    log_total = torch.empty(len(out))
    with _threads() as threads:
        compiled.rescale(w.values, m.background, w.unit, w.log_peak, w.initial)
        tiles = _tiles(below, m.scale)
        plan = compiled.Plan(
            *compiled.plan(m.starts, _numpy(class_of.int()), choice_of_class, matrix.shape[0], len(tiles), threads)
        )
        compiled.log_ratios(
            m,
            w,
            tiles,
            _in_tiles(below @ m.background),
            choices,
            plan,
            out.numpy() if log_probs is None else _numpy(log_probs),
            log_probs is not None,
            out.numpy(),
            log_total.numpy(),
        )
    return log_total


def _with_headroom(m: compiled.Entries) -> compiled.Entries:
    largest = np.abs(m.levels).max() or np.float32(1)
    return m._replace(
        levels=m.levels / largest,
        scale=m.scale * (largest * HEADROOM),
        background=m.background * HEADROOM,
    )


def _distinct_columns(row_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct columns of int32 [B, K], as rows [choices, B]; and which of them each column is, int64 [K]."""
    by_class = np.ascontiguousarray(row_of.T)
    found: dict[bytes, int] = {}
    choice_of = np.array([found.setdefault(rows.tobytes(), len(found)) for rows in by_class], np.int64)
    return by_class[np.unique(choice_of, return_index=True)[1]], choice_of


def _tiles(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    tiles = np.empty((-(-len(x) // compiled.LANES), len(scale), compiled.LANES), np.float32)
    compiled.fill_tiles(x, scale, tiles)
    return tiles


def _in_tiles(values: np.ndarray) -> np.ndarray:
    """[B] -> [T, LANES], zeros beyond the last."""
    tiles = np.zeros((-(-len(values) // compiled.LANES), compiled.LANES), np.float32)
    tiles.ravel()[: len(values)] = values
    return tiles


def _entries(matrix: SparseColumns) -> compiled.Entries:
    return compiled.Entries(
        matrix.column_starts.numpy(),
        matrix.row_of_entry.numpy(),
        matrix.codes.numpy(),
        matrix.codebook.numpy(),
        matrix.scale.numpy(),
        matrix.background.numpy(),
    )


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


@contextmanager
def _threads() -> Iterator[int]:
    """One caller at a time, with as many threads as torch may use."""
    with _ONE_CALLER:
        before = numba.get_num_threads()
        threads = min(torch.get_num_threads(), compiled.MAX_THREADS)
        numba.set_num_threads(threads)
        try:
            yield threads
        finally:
            numba.set_num_threads(before)
