"""The numba code of the CPU kernels: sums over the stored entries of each column, for 16 sequences at a time.

A *tile* is a float32 table [H, LANES]: state after state, the values of 16 sequences, so that one entry of a column
is one multiply-add of a register (`lanes.mix`). Arguments are not checked here, and all arrays are contiguous.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numba.core import config

from ctrlg.kernels.lanes import LANES, WIDE, exponent_of, mantissa_of, mix, power_of_two, spread

BLOCK = 256
"""Columns whose sums are held (16 kB a table) before they are written out row by row."""

TOKEN_COST = 12
"""What a column costs besides its entries (log, sum, reading and writing 16 values), in entries."""

GATHER_COST = 8
"""What an entry costs when its 16 weights are picked from 16 rows, in entries of a tile."""

LN2 = np.float32(0.6931471805599453)
LOG2_E = np.float32(1.4426950408889634)
ZERO = np.float32(0)
LARGE = np.float32(2.0**64)
SMALLEST = np.float32(1.1754944e-38)
"""Smallest normal float32: the reciprocal of anything from here on is finite."""

MAX_THREADS = int(config.NUMBA_NUM_THREADS)  # pyright: ignore[reportAttributeAccessIssue]
"""Threads numba was started with; it can use fewer, never more."""

# NaN and infinity keep their meaning; sums may be reordered and contracted to fused multiply-adds.
RELAXED = {"contract", "reassoc", "nsz", "arcp"}


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


class Weights(NamedTuple):
    """Rows of weights and what rescales them: `values[r] * unit[r]` has the largest entry 1.

    values: float32 [R, H], >= 0; unit: [R], 0 for a row of zeros; log_peak: [R], log of the largest entry;
    initial: [R], (values * unit) @ background.
    """

    values: np.ndarray
    unit: np.ndarray
    log_peak: np.ndarray
    initial: np.ndarray


class Plan(NamedTuple):
    """The work of `log_ratios`, cut into items of similar cost and dealt to threads.

    order: int32 [N], the columns, sorted by choice. items: int64 [n, 5], (tile, choice, first, last, tabled): the
    columns order[first:last] for the sequences of a tile; weights are put into a tile first if tabled, else they are
    picked entry by entry. items_of: int64 [threads + 1], where each thread's items begin.
    """

    order: np.ndarray
    items: np.ndarray
    items_of: np.ndarray


def _compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """njit with a cache on disk, or without one where no folder for it can be written.

    Divisions are the processor's own (`error_model`): the test for zero that Python asks for would keep loops scalar.
    """

    def compile_later(function: Callable[..., Any]) -> Any:
        compiled = partial(njit, fastmath=RELAXED, error_model="numpy", **options)
        try:
            return compiled(cache=True)(function)
        except RuntimeError:
            return compiled()(function)

    return compile_later


@_compiled(parallel=True)
def fill_tiles(x: Any, scale: Any, tiles: Any) -> None:
    """tiles[t, h, lane] = x[t * LANES + lane, h] * scale[h], 0 beyond the last row.

    x: [B, H]; scale: [H]; tiles: [T, H, LANES].
    """
    batch, hidden_states = x.shape
    chunks = (hidden_states + BLOCK - 1) // BLOCK
    for item in prange(len(tiles) * chunks):
        tile, chunk = item // chunks, item % chunks
        lanes = min(LANES, batch - tile * LANES)
        for h in range(chunk * BLOCK, min((chunk + 1) * BLOCK, hidden_states)):
            for lane in range(lanes):
                tiles[tile, h, lane] = x[tile * LANES + lane, h] * scale[h]
            for lane in range(lanes, LANES):
                tiles[tile, h, lane] = 0


@_compiled(parallel=True)
def left(m: Any, tiles: Any, initial: Any, out: Any, threads: int) -> None:
    """out = x @ M [B, N], given x * scale by tiles [T, H, LANES] and initial = x @ background [T, LANES]."""
    batch, size = out.shape
    blocks = (size + BLOCK - 1) // BLOCK
    for thread in prange(threads):
        sums = np.empty(BLOCK * LANES, np.float32)
        for item in range(thread, len(tiles) * blocks, threads):
            tile, begin = item // blocks, (item % blocks) * BLOCK
            count = min(BLOCK, size - begin)
            for i in range(count):
                first, last = m.starts[begin + i], m.starts[begin + i + 1]
                mix(sums, i * LANES, initial[tile], tiles[tile], m.rows, m.codes, m.levels, first, last)
            for lane in range(min(LANES, batch - tile * LANES)):
                for i in range(count):
                    out[tile * LANES + lane, begin + i] = sums[i * LANES + lane]


@_compiled(parallel=True)
def right(m: Any, y: Any, out: Any) -> None:
    """out = y @ M.T. y: [S, N]; out: [S, H]."""
    height, size = y.shape
    for tile in prange((height + WIDE - 1) // WIDE):
        lanes = min(WIDE, height - tile * WIDE)
        table = np.zeros((len(m.scale), WIDE), np.float32)
        values = np.zeros(BLOCK * WIDE, np.float32)
        totals = np.zeros(WIDE, np.float64)
        for begin in range(0, size, BLOCK):
            count = min(BLOCK, size - begin)
            for lane in range(lanes):
                for i in range(count):
                    values[i * WIDE + lane] = y[tile * WIDE + lane, begin + i]
                    totals[lane] += y[tile * WIDE + lane, begin + i]
            for i in range(count):
                first, last = m.starts[begin + i], m.starts[begin + i + 1]
                spread(table, values, i * WIDE, m.rows, m.codes, m.levels, first, last)
        for lane in range(lanes):
            for h in range(len(m.scale)):
                out[tile * WIDE + lane, h] = m.scale[h] * table[h, lane] + m.background[h] * totals[lane]


@_compiled(parallel=True)
def columns(m: Any, ids: Any, out: Any) -> None:
    """out[i, h] = M[h, ids[i]], ones where ids[i] is -1. ids: [n]; out: [n, H]."""
    for i in prange(len(ids)):
        v = ids[i]
        if v < 0:
            out[i] = 1
        else:
            out[i] = m.background
            for e in range(m.starts[v], m.starts[v + 1]):
                h = np.int64(m.rows[e])
                out[i, h] += m.scale[h] * m.levels[m.codes[e]]


@_compiled()
def class_sums(m: Any, class_of: Any, out: Any) -> None:
    """out[k, h] = sum of M[h, v] over the columns v of class k. class_of: [N]; out: [K, H]."""
    out[:] = 0
    members = np.zeros(len(out), np.float32)
    for v in range(len(class_of)):
        k = class_of[v]
        members[k] += 1
        for e in range(m.starts[v], m.starts[v + 1]):
            out[k, np.int64(m.rows[e])] += m.levels[m.codes[e]]
    for k in range(len(out)):
        for h in range(len(m.scale)):
            out[k, h] = m.scale[h] * out[k, h] + m.background[h] * members[k]


@_compiled(parallel=True)
def decode(codes: Any, levels: Any, scale: Any, background: Any, out: Any) -> None:
    """out[h, v] = scale[h] * levels[codes[h, v]] + background[h]. codes: uint8 [n, m]; scale, background: [n]."""
    for h in prange(len(codes)):
        values = np.empty(256, np.float32)
        for code in range(len(levels)):
            values[code] = scale[h] * levels[code] + background[h]
        for v in range(codes.shape[1]):
            out[h, v] = values[codes[h, v]]


@_compiled(parallel=True)
def rescale(values: Any, background: Any, unit: Any, log_peak: Any, initial: Any) -> None:
    """Fills unit, log_peak and initial of `Weights` for these values [R, H]."""
    for r in prange(len(values)):
        peak, total = np.float32(0), np.float32(0)
        for h in range(len(background)):
            peak = max(peak, values[r, h])
        unit[r] = np.float32(1) / max(peak, SMALLEST) if peak > 0 else np.float32(0)
        log_peak[r] = np.log(max(peak, SMALLEST))
        for h in range(len(background)):
            total += (values[r, h] * unit[r]) * background[h]
        initial[r] = total


@_compiled()
def plan(starts: Any, class_of: Any, choice_of_class: Any, hidden_states: int, tiles: int, threads: int) -> Any:
    """order, items and items_of of a `Plan`. class_of: [N]; choice_of_class: [K], in [0, choices)."""
    choices = choice_of_class.max() + 1
    begin, entries = np.zeros(choices + 1, np.int64), np.zeros(choices, np.int64)
    for v in range(len(class_of)):
        choice = choice_of_class[class_of[v]]
        begin[choice + 1] += 1
        entries[choice] += starts[v + 1] - starts[v]
    begin = np.cumsum(begin)
    free, order = begin.copy(), np.empty(len(class_of), np.int32)
    for v in range(len(class_of)):
        choice = choice_of_class[class_of[v]]
        order[free[choice]] = v
        free[choice] += 1

    share = (TOKEN_COST * len(class_of) + starts[-1]) * tiles // (2 * threads) + 1
    items = np.empty((choices * tiles + GATHER_COST * 2 * threads, 5), np.int64)
    thread_of = np.empty(len(items), np.int64)
    load = np.zeros(threads, np.int64)
    count = 0
    for choice in range(choices):
        tabled = entries[choice] > hidden_states
        weight = 1 if tabled else GATHER_COST
        cost = TOKEN_COST * (begin[choice + 1] - begin[choice]) + weight * entries[choice]
        parts = (cost + share - 1) // share
        first, seen, cut = begin[choice], 0, 1
        for i in range(begin[choice], begin[choice + 1]):
            seen += TOKEN_COST + weight * (starts[order[i] + 1] - starts[order[i]])
            if seen * parts >= cost * cut:
                for tile in range(tiles):
                    lightest = np.argmin(load)
                    load[lightest] += cost // parts + (GATHER_COST * hidden_states if tabled else 0)
                    thread_of[count] = lightest
                    items[count] = (tile, choice, first, i + 1, int(tabled))
                    count += 1
                first = i + 1
                while seen * parts >= cost * cut:
                    cut += 1
    items_of = np.zeros(threads + 1, np.int64)
    for i in range(count):
        items_of[thread_of[i] + 1] += 1
    return order, items[np.argsort(thread_of[:count], kind="mergesort")], np.cumsum(items_of)


@_compiled(parallel=True)
def log_ratios(
    m: Any, w: Any, tiles: Any, initial: Any, choices: Any, p: Any, log_probs: Any, joined: bool, out: Any, total: Any
) -> None:
    """out[b, v] = log(weights[row of b and v] @ M[:, v]) - log(predictive[b] @ M[:, v]) [+ log_probs[b, v]].

    m: Entries; w: Weights; p: Plan; tiles [T, H, LANES] and initial [T, LANES]: predictive * scale by tiles and
    predictive @ background; choices: int32 [choices, B], the distinct columns of row_of. If joined, log_probs [B, N]
    is added, and total [B] becomes the log-sum-exp of the rows of `out`.
    """
    peaks = np.full((len(p.items), LANES), -np.inf, np.float32)
    masses = np.zeros((len(p.items), LANES), np.float64)
    for thread in prange(len(p.items_of) - 1):
        for i in range(p.items_of[thread], p.items_of[thread + 1]):
            tile, choice, tabled = p.items[i, 0], p.items[i, 1], p.items[i, 4]
            columns = p.order[p.items[i, 2] : p.items[i, 3]]
            rows = choices[choice, tile * LANES : (tile + 1) * LANES]
            if rows.max() < 0:
                for lane in range(len(rows)):
                    for v in columns:
                        out[tile * LANES + lane, v] = -np.inf
            else:
                _log_ratios_of(
                    m,
                    w,
                    tiles[tile],
                    initial[tile],
                    rows,
                    tile,
                    columns,
                    tabled,
                    log_probs,
                    joined,
                    out,
                    peaks[i],
                    masses[i],
                )
    if joined:
        for b in range(len(out)):
            peak, mass = np.float32(-np.inf), 0.0
            for i in range(len(p.items)):
                if p.items[i, 0] == b // LANES:
                    peak = max(peak, peaks[i, b % LANES])
            for i in range(len(p.items)):
                if p.items[i, 0] == b // LANES and masses[i, b % LANES] > 0:
                    mass += masses[i, b % LANES] * np.exp(np.float64(peaks[i, b % LANES]) - np.float64(peak))
            total[b] = peak + np.log(mass) if mass > 0 else -np.inf


@_compiled()
def _log_ratios_of(
    m: Any,
    w: Any,
    tile: Any,
    initial: Any,
    rows: Any,
    index: int,
    columns: Any,
    tabled: int,
    log_probs: Any,
    joined: bool,
    out: Any,
    peak: Any,
    mass: Any,
) -> None:
    """`log_ratios` of some columns for the sequences of one tile, whose weights are `rows` (-1: dead)."""
    lanes = len(rows)
    start, unit = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    for lane in range(lanes):
        if rows[lane] >= 0:
            start[lane], unit[lane] = w.initial[rows[lane]], w.unit[rows[lane]]
    table = np.zeros((len(m.scale) if tabled else 0, LANES), np.float32)
    for h in range(len(table)):
        for lane in range(lanes):
            table[h, lane] = w.values[max(rows[lane], 0), h] * unit[lane] * m.scale[h]
    above, below = np.zeros(BLOCK * LANES, np.float32), np.empty(BLOCK * LANES, np.float32)
    values = np.empty(BLOCK, np.float32)
    for begin in range(0, len(columns), BLOCK):
        count = min(BLOCK, len(columns) - begin)
        for i in range(count):
            first, last = m.starts[columns[begin + i]], m.starts[columns[begin + i] + 1]
            mix(below, i * LANES, initial, tile, m.rows, m.codes, m.levels, first, last)
            if tabled:
                mix(above, i * LANES, start, table, m.rows, m.codes, m.levels, first, last)
            else:
                for lane in range(lanes):
                    row = w.values[max(rows[lane], 0)]
                    above[i * LANES + lane] = start[lane] + _picked(m, row, unit[lane], first, last)
        log_quotients(above, below, count * LANES)
        for lane in range(lanes):
            b, shift = index * LANES + lane, w.log_peak[max(rows[lane], 0)]
            if joined:
                for i in range(count):
                    v = columns[begin + i]
                    values[i] = above[i * LANES + lane] + shift + log_probs[b, v]
                    out[b, v] = values[i]
                peak[lane], mass[lane] = _with_exponentials(peak[lane], mass[lane], values, count)
            else:
                for i in range(count):
                    out[b, columns[begin + i]] = above[i * LANES + lane] + shift


@_compiled()
def _with_exponentials(peak: Any, mass: Any, values: Any, count: int) -> Any:
    """(peak, mass) with exp(peak) * mass grown by the sum of exp(values[i]) for i < count.

    The peak follows the largest value only where the mass would grow beyond bounds.
    """
    added = sum_exp(values, peak, count) if peak > -np.inf else LARGE
    if added < LARGE:
        return peak, mass + added
    highest = values[:count].max()
    if highest == -np.inf:
        return peak, mass
    return highest, mass * np.exp(peak - highest) + sum_exp(values, highest, count)


@_compiled()
def _picked(m: Any, row: Any, unit: Any, first: int, last: int) -> Any:
    """Sum of row[h] * unit * scale[h] * level over the entries first .. last - 1."""
    total = np.float32(0)
    for e in range(first, last):
        h = np.int64(m.rows[e])
        total += row[h] * unit * m.scale[h] * m.levels[m.codes[e]]
    return total


@_compiled()
def log_quotients(above: Any, below: Any, count: int) -> None:
    """above[i] = log(above[i] / below[i]) for i < count; -inf where either is not positive. Error below 2e-6.

    Exponents are subtracted as integers, so no quotient overflows; that of the mantissas, m in (1/2, 2), has
    log m = 2 artanh f, f = (m - 1) / (m + 1), |f| < 1/3.
    """
    for i in range(count):
        high, low = above[i], below[i]
        f = (mantissa_of(high) - mantissa_of(low)) / (mantissa_of(high) + mantissa_of(low))
        s = f * f
        series = np.float32(1 / 9) + s * np.float32(1 / 11)
        series = np.float32(1 / 7) + s * series
        series = np.float32(1 / 5) + s * series
        series = np.float32(1 / 3) + s * series
        value = (exponent_of(high) - exponent_of(low)) * LN2 + np.float32(2) * (f + f * s * series)
        above[i] = value if (high > ZERO) & (low > ZERO) else np.float32(-np.inf)


@_compiled()
def sum_exp(values: Any, peak: Any, count: int) -> Any:
    """Sum of exp(values[i] - peak) for i < count, float32; peak is finite. Relative error below 2e-6 up to 2^127."""
    total = np.float32(0)
    for i in range(count):
        power = min(max((values[i] - peak) * LOG2_E, np.float32(-126)), np.float32(127))
        whole = np.floor(power + np.float32(0.5))
        r = (power - whole) * LN2
        series = np.float32(1 / 120) + r * np.float32(1 / 720)
        series = np.float32(1 / 24) + r * series
        series = np.float32(1 / 6) + r * series
        series = np.float32(0.5) + r * series
        total += (np.float32(1) + r + r * r * series) * power_of_two(whole)
    return total
