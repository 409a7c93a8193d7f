"""Compiled loops of decoding on the CPU; imported only where they run, so that `import ctrlg` compiles nothing.

Each has a twin in plain torch beside its caller, which is the definition and serves every other device. What a kernel
does is cut into `parts`, of which a call does one.
"""

from __future__ import annotations

import numpy as np

from ctrlg.kernels.lanes import compiled

COLUMNS = 512  # of a block: a few hundred rows of float32 of that length stay in the second-level cache


@compiled
def add_edges(
    start: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    mass: np.ndarray,
    masses: np.ndarray,
    values: np.ndarray,
    out: np.ndarray,
    part: int,
    parts: int,
) -> None:
    """out[i] += sum over e in start[i] .. start[i + 1] of weight[e] * masses[mass[e]] * values[target[e]].

    start int64 [n + 1]; target, mass int32 [E]; weight float32 [E].
    masses [M, H], values [m, H], out [n, H] float32.
    """
    width = out.shape[1]
    # Blocks of hidden states outside, edges inside: a block of all rows that edges read stays in the cache while every
    # edge uses it. Parts have different columns, so no two write one place.
    for first in range(part * COLUMNS, width, parts * COLUMNS):
        last = min(width, first + COLUMNS)
        for i in range(len(start) - 1):
            row = out[i, first:last]
            for e in range(start[i], start[i + 1]):
                factor = weight[e]
                mass_row = masses[mass[e], first:last]
                value_row = values[target[e], first:last]
                for h in range(last - first):
                    # The product is made in registers: a temporary of all edges would be [E, H].
                    row[h] += factor * mass_row[h] * value_row[h]


@compiled
def multiply_rows(
    left: np.ndarray,
    left_row: np.ndarray,
    right: np.ndarray,
    right_row: np.ndarray,
    factor: np.ndarray,
    out: np.ndarray,
    largest: np.ndarray,
    part: int,
    parts: int,
) -> None:
    """out[r] = left[left_row[r]] * right[right_row[r]] * factor[r], and largest[r] = max(out[r]).

    left [U, H], right [m, H], factor [R], out [R, H], largest [R]: float32, not negative; left_row, right_row: int [R].
    """
    for r in range(part, len(left_row), parts):
        a = left[left_row[r]]
        b = right[right_row[r]]
        by = factor[r]
        row = out[r]
        top = np.float32(0.0)
        for h in range(len(row)):
            # The largest entry is taken on the way, which saves another pass over [R, H].
            product = a[h] * b[h] * by
            row[h] = product
            top = max(top, product)
        largest[r] = top
