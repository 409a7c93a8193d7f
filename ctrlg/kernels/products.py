"""Numba code of the products with a compressed matrix: sums over the stored entries of columns.

A *tile* is a float32 table [H, LANES]: state after state, the values of 16 sequences, so that one entry of a column
is one multiply-add of a register (`lanes.mix`). What a kernel does is cut into `parts`, of which a call does one.
Arguments are not checked here, and all arrays are contiguous.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ctrlg.kernels.lanes import LANES, WIDE, compiled, dot, fill_lane, mix, spread

BLOCK = 256
"""Columns whose sums are held (16 kB a table) before they are written out row by row."""


class Entries(NamedTuple):
    """M[h, v] = scale[h] * levels[codes[e]] + background[h] for the entry e of column v with rows[e] = h.

    starts: [N + 1], entries of column v are starts[v] .. starts[v + 1] - 1; rows: [entries]; codes: uint8 [entries];
    levels: float32 [L]; scale, background: float32 [H].
    """

    starts: np.ndarray
    rows: np.ndarray
    codes: np.ndarray
    levels: np.ndarray
    scale: np.ndarray
    background: np.ndarray


@compiled
def left(m: Any, x: Any, out: Any, part: int, parts: int) -> None:
    """out = x @ M, every parts-th block of columns. x: [B, H]; out: [B, N]."""
    batch, size = out.shape
    # A tile of H * 64 bytes in every part. In the last group, lanes beyond the batch hold what was there before; they
    # are computed and never written.
    table, start = np.zeros((len(m.scale), LANES), np.float32), np.zeros(LANES, np.float32)
    sums = np.empty(BLOCK * LANES, np.float32)
    for first in range(0, batch, LANES):
        lanes = min(LANES, batch - first)
        for lane in range(lanes):
            # x @ M = (x * scale) @ levels[codes] + x @ background. The scale belongs to a state, so it is multiplied in
            # here, once a state, and not at every entry; the background's share is one number, with which every sum
            # starts.
            fill_lane(table, lane, x[first + lane], np.float32(1), m.scale)
            start[lane] = dot(x[first + lane], m.background)
        for begin in range(part * BLOCK, size, parts * BLOCK):
            count = min(BLOCK, size - begin)
            for i in range(count):
                e, f = m.starts[begin + i], m.starts[begin + i + 1]
                # Sums lie column after column, 16 sequences side by side.
                mix(sums, i * LANES, start, table, m.rows, m.codes, m.levels, e, f)
            for lane in range(lanes):
                for i in range(count):
                    # Transposed on the way out: writes run along a row of `out`, reads stay inside the block's 16 kB.
                    out[first + lane, begin + i] = sums[i * LANES + lane]


@compiled
def right(m: Any, y: Any, out: Any, part: int, parts: int) -> None:
    """out = y @ M.T, every parts-th group of WIDE rows. y: [S, N]; out: [S, H]."""
    height, size = y.shape
    values = np.zeros(BLOCK * WIDE, np.float32)
    for top in range(part * WIDE, height, parts * WIDE):
        lanes = min(WIDE, height - top)
        # Parts share out groups of rows, so each adds into a table of its own (H * 128 bytes). The background's share
        # is background[h] * (sum of the row of y); N terms are added, hence float64.
        table, totals = np.zeros((len(m.scale), WIDE), np.float32), np.zeros(WIDE, np.float64)
        for begin in range(0, size, BLOCK):
            count = min(BLOCK, size - begin)
            for lane in range(lanes):
                for i in range(count):
                    # Transposed on the way in: an entry of column i then adds 32 neighboring numbers.
                    values[i * WIDE + lane] = y[top + lane, begin + i]
                    totals[lane] += y[top + lane, begin + i]
            for i in range(count):
                e, f = m.starts[begin + i], m.starts[begin + i + 1]
                # Column i adds to the rows that store it, level * y: scale and background wait until all columns are
                # done.
                spread(table, values, i * WIDE, m.rows, m.codes, m.levels, e, f)
        for lane in range(lanes):
            for h in range(len(m.scale)):
                out[top + lane, h] = m.scale[h] * table[h, lane] + m.background[h] * totals[lane]


@compiled
def columns(m: Any, ids: Any, out: Any, part: int, parts: int) -> None:
    """out[i, h] = M[h, ids[i]], ones where ids[i] is -1, every parts-th row. ids: [n]; out: [n, H]."""
    for i in range(part, len(ids), parts):
        v = ids[i]
        if v < 0:
            out[i] = 1
        else:
            # What is not stored is the background; stored entries are few and are added to it.
            out[i] = m.background
            for e in range(m.starts[v], m.starts[v + 1]):
                h = np.int64(m.rows[e])
                out[i, h] += m.scale[h] * m.levels[m.codes[e]]


@compiled
def class_sums(m: Any, class_of: Any, out: Any) -> None:
    """out[k, h] = sum of M[h, v] over the columns v of class k. class_of: [N]; out: [K, H]."""
    out[:] = 0
    # Scale and background of a state are the same for all columns of a class: sum of M[h, v] = scale[h] * (sum of
    # levels) + background[h] * (columns of the class). So bare levels are added, and both come in once at the end.
    # Classes are shared by columns all over the vocabulary: this is one part only, for two would write the same rows.
    members = np.zeros(len(out), np.float32)
    for v in range(len(class_of)):
        k = class_of[v]
        members[k] += 1
        for e in range(m.starts[v], m.starts[v + 1]):
            out[k, np.int64(m.rows[e])] += m.levels[m.codes[e]]
    for k in range(len(out)):
        for h in range(len(m.scale)):
            out[k, h] = m.scale[h] * out[k, h] + m.background[h] * members[k]


@compiled
def decode(codes: Any, levels: Any, scale: Any, background: Any, first: int, out: Any, part: int, parts: int) -> None:
    """out[h, i] = scale[h] * levels[codes[h, first + i]] + background[h], every parts-th row.

    codes: uint8 [H, N]; out: [H, n].
    """
    # All values of a row, at most one for each uint8: decoding is then a lookup without arithmetic.
    values = np.empty(256, np.float32)
    for h in range(part, len(codes), parts):
        for code in range(len(levels)):
            values[code] = scale[h] * levels[code] + background[h]
        for i in range(out.shape[1]):
            out[h, i] = values[codes[h, first + i]]
