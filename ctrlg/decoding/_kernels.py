"""Compiled loops of decoding on the CPU; imported only where they run, so that `import ctrlg` compiles
nothing.

Each has a twin in plain torch beside its caller, which is the definition and serves every other device.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

COLUMNS = (
    512  # columns of a block: with a few hundred rows of float32, a block stays in the second-level cache
)


@njit(cache=True, parallel=True, fastmath=True, boundscheck=False)
def add_edges(
    start: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    mass: np.ndarray,
    masses: np.ndarray,
    values: np.ndarray,
    out: np.ndarray,
) -> None:
    """out[i] += sum over e in start[i] .. start[i + 1] of weight[e] * masses[mass[e]] * values[target[e]].

    start int64 [n + 1]; target, mass int32 [E]; weight float32 [E]; masses [M, H], values [m, H], out [n, H]
    float32.
    """
    width = out.shape[1]
    for block in prange((width + COLUMNS - 1) // COLUMNS):
        first = block * COLUMNS
        last = min(width, first + COLUMNS)
        for i in range(len(start) - 1):
            row = out[i, first:last]
            for e in range(start[i], start[i + 1]):
                factor = weight[e]
                mass_row = masses[mass[e], first:last]
                value_row = values[target[e], first:last]
                for h in range(last - first):
                    row[h] += factor * mass_row[h] * value_row[h]


@njit(cache=True, parallel=True, fastmath=True, boundscheck=False)
def multiply_rows(
    left: np.ndarray,
    right: np.ndarray,
    left_row: np.ndarray,
    right_row: np.ndarray,
    out: np.ndarray,
    largest: np.ndarray,
) -> None:
    """out[r] = left[left_row[r]] * right[right_row[r]] and largest[r] = max(out[r]); rows are float32 and not
    negative."""
    width = out.shape[1]
    for r in prange(len(left_row)):
        a = left[left_row[r]]
        b = right[right_row[r]]
        row = out[r]
        top = np.float32(0.0)
        for h in range(width):
            product = a[h] * b[h]
            row[h] = product
            top = max(top, product)
        largest[r] = top


@njit(cache=True, parallel=True, fastmath=True, boundscheck=False)
def scale_rows(rows: np.ndarray, factor: np.ndarray) -> None:
    """rows[r] *= factor[r]; float32 [R, H] and [R]."""
    for r in prange(len(factor)):
        row = rows[r]
        by = factor[r]
        for h in range(rows.shape[1]):
            row[h] *= by
