"""Numba code of the next-token scores: numerator, denominator, their log-ratio and its log-sum-exp in one pass.

All tokens are visited in their own order, a block at a time, for 16 sequences; tables that hold the weights of 16
sequences for each choice of next states stay in the cache of a core. Arguments are not checked here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ctrlg.kernels.lanes import (
    LANES,
    compiled,
    dot,
    exponent_of,
    fill_lane,
    largest,
    mantissa_of,
    mix,
    mix_both,
    power_of_two,
)

BLOCK = 512
"""Columns whose sums are held (32 kB a table) before they are written out row by row."""

TOKEN_COST = 12
"""What a column costs besides its entries (log, sum, reading and writing 16 values), in entries."""

PICK_COST = 24
"""What an entry costs when its 16 weights are picked from 16 rows, in entries of a table."""

TABLE_COST = 7
"""What a state costs when 16 weights are put into a table, in entries of a table."""

MAX_TABLES = 32
"""Choices of next states whose weights a part puts into tables of H * LANES * 4 bytes."""

LN2 = np.float32(0.6931471805599453)
LOG2_E = np.float32(1.4426950408889634)
ZERO = np.float32(0)
LARGE = np.float32(2.0**64)
SMALLEST = np.float32(1.1754944e-38)
"""Smallest normal float32: the reciprocal of anything from here on is finite."""


class Mixtures(NamedTuple):
    """The weights of every sequence, for numerators by choice of next state, and for denominators.

    weights: float32 [R, H], >= 0; weights_start: [R], weights @ background.
    choices: int32 [G, B], the distinct columns of row_of: the row of weights that a sequence uses, -1 where dead.
    unit: [B], what a sequence's weights are multiplied by so that the largest is 1; log_peak: [B], -log(unit).
    predictive: [B, H]; predictive_start: [B], predictive @ background.
    """

    weights: np.ndarray
    weights_start: np.ndarray
    choices: np.ndarray
    unit: np.ndarray
    log_peak: np.ndarray
    predictive: np.ndarray
    predictive_start: np.ndarray


class Plan(NamedTuple):
    """How the work of `log_ratios` is done.

    choice_of: int32 [N], the row of `choices` that a column uses.
    table_of: int32 [G], which table holds the weights of a choice; -1: they are picked entry by entry.
    cuts: int64 [parts + 1], where parts begin in the sequence of all columns of all tiles.
    """

    choice_of: np.ndarray
    table_of: np.ndarray
    cuts: np.ndarray


@compiled
def starts_and_peaks(weights: Any, background: Any, starts: Any, peaks: Any, part: int, parts: int) -> None:
    """starts[r] = weights[r] @ background, peaks[r] = largest entry of weights[r], every parts-th r."""
    for r in range(part, len(weights), parts):
        starts[r], peaks[r] = dot(weights[r], background), largest(weights[r])


@compiled
def units(peaks: Any, row_of: Any, unit: Any, log_peak: Any) -> None:
    """`unit` and `log_peak` of `Mixtures`, given the largest entry of each row [R] and row_of [B, K]."""
    for b in range(len(row_of)):
        # One unit for a sequence, from the largest entry of any row it uses: numerators of all its choices then have
        # one scale, and a lane of a table needs one factor.
        peak = np.float32(0)
        for row in row_of[b]:
            if row >= 0:
                peak = max(peak, peaks[row])
        peak = max(peak, SMALLEST)
        unit[b], log_peak[b] = np.float32(1) / peak, np.log(peak)


@compiled
def plan(
    starts: Any, class_of: Any, choice_of_class: Any, live: Any, hidden_states: int, tiles: int, parts: int
) -> Any:
    """choice_of, table_of and cuts of a `Plan`. class_of: [N]; choice_of_class: [K]; live: bool [G]."""
    # How many stored entries the columns of a choice have: what a table of its weights would serve.
    choice_of, entries = np.empty(len(class_of), np.int32), np.zeros(len(live), np.int64)
    for v in range(len(class_of)):
        choice_of[v] = choice_of_class[class_of[v]]
        entries[choice_of[v]] += starts[v + 1] - starts[v]
    table_of, weight = np.full(len(live), -1, np.int32), np.zeros(len(live), np.int64)
    # The busiest choices first, because tables are few. A table pays where to pick every entry's weights costs more
    # than to fill it.
    tables = 0
    for choice in np.argsort(-entries):
        if live[choice]:
            tabled = tables < MAX_TABLES and PICK_COST * entries[choice] > TABLE_COST * hidden_states
            weight[choice] = 1 if tabled else PICK_COST
            if tabled:
                table_of[choice] = tables
                tables += 1
    # cost[v]: what the columns up to v cost in one tile, the same in every tile. Cuts are at equal shares of tiles *
    # total, as tile * N + column, so that parts end together though columns differ a thousandfold.
    cost = np.empty(len(class_of), np.int64)
    total = 0
    for v in range(len(class_of)):
        total += TOKEN_COST + weight[choice_of[v]] * (starts[v + 1] - starts[v])
        cost[v] = total
    cuts = np.empty(parts + 1, np.int64)
    for part in range(parts):
        tile, rest = divmod(part * tiles * total // parts, total)
        cuts[part] = tile * len(class_of) + np.searchsorted(cost, rest)
    cuts[parts] = tiles * len(class_of)
    return choice_of, table_of, cuts


@compiled
def log_ratios(
    m: Any, x: Any, p: Any, log_probs: Any, joined: bool, out: Any, peaks: Any, masses: Any, part: int, parts: int
) -> None:
    """out[b, v] = log(weights[row of b and v] @ M[:, v]) - log(predictive[b] @ M[:, v]) [+ log_probs[b, v]].

    m: Entries; x: Mixtures; p: Plan for so many parts; out: [B, N]. If joined, log_probs [B, N] is added, and
    masses[part, b] * exp(peaks[part, b]) is the sum of exp(out[b, v]) over this part; both are [parts, B].
    """
    size = out.shape[1]
    # A running log-sum-exp of each row over this part's columns: exp(peak) * mass.
    peaks[part], masses[part] = -np.inf, 0.0
    # Tile after tile, column after column: a part may begin and end inside a tile.
    position = p.cuts[part]
    while position < p.cuts[part + 1]:
        first, begin = position // size * LANES, position % size
        end = min(size, begin + p.cuts[part + 1] - position)
        _log_ratios_of_tile(m, x, p, first, begin, end, log_probs, joined, out, peaks[part], masses[part])
        position += end - begin


@compiled
def _log_ratios_of_tile(
    m: Any,
    x: Any,
    p: Any,
    first: int,
    begin: int,
    end: int,
    log_probs: Any,
    joined: bool,
    out: Any,
    peaks: Any,
    masses: Any,
) -> None:
    """`log_ratios` for the sequences first .. first + LANES - 1 and the columns begin .. end - 1."""
    lanes = min(LANES, len(out) - first)
    # Denominators need one table: every token of a sequence is weighed by the same predictive state.
    below_table, below_start = np.zeros((len(m.scale), LANES), np.float32), np.zeros(LANES, np.float32)
    for lane in range(lanes):
        below_start[lane] = x.predictive_start[first + lane]
        fill_lane(below_table, lane, x.predictive[first + lane], np.float32(1), m.scale)
    # At most MAX_TABLES * H * 64 bytes, filled once for all columns of this tile.
    above_tables = np.zeros((p.table_of.max() + 1, len(m.scale), LANES), np.float32)
    rows, units = np.zeros((len(x.choices), LANES), np.int64), np.zeros((len(x.choices), LANES), np.float32)
    # A lane without a live row keeps row 0 and unit 0: it adds zeros, and no loop needs to ask.
    above_starts, live = np.zeros((len(x.choices), LANES), np.float32), np.zeros(len(x.choices), np.bool_)
    for choice in range(len(x.choices)):
        for lane in range(lanes):
            row = x.choices[choice, first + lane]
            if row >= 0:
                live[choice] = True
                rows[choice, lane], units[choice, lane] = row, x.unit[first + lane]
                above_starts[choice, lane] = x.weights_start[row] * x.unit[first + lane]
                if p.table_of[choice] >= 0:
                    fill_lane(above_tables[p.table_of[choice]], lane, x.weights[row], x.unit[first + lane], m.scale)

    above, below = np.zeros(BLOCK * LANES, np.float32), np.zeros(BLOCK * LANES, np.float32)
    values = np.empty(BLOCK, np.float32)
    for block in range(begin, end, BLOCK):
        count = min(BLOCK, end - block)
        for i in range(count):
            choice, at = p.choice_of[block + i], i * LANES
            e, f = m.starts[block + i], m.starts[block + i + 1]
            # Dead for all 16 sequences: a numerator of 0 becomes -inf, whatever the denominator holds.
            if not live[choice]:
                above[at : at + LANES] = 0
                continue
            if p.table_of[choice] >= 0:
                table, start = above_tables[p.table_of[choice]], above_starts[choice]
                mix_both(below, above, at, below_start, start, below_table, table, m.rows, m.codes, m.levels, e, f)
            else:
                mix(below, at, below_start, below_table, m.rows, m.codes, m.levels, e, f)
                _pick(m, x.weights, rows[choice], units[choice], above_starts[choice], e, f, above, at)
        log_quotients(above, below, count * LANES)
        for lane in range(lanes):
            b = first + lane
            for i in range(count):
                # From column-major sums, all of them in the block's 32 kB, to a row of `out`. log_peak gives the
                # numerator its unit back.
                values[i] = above[i * LANES + lane] + x.log_peak[b]
            if joined:
                for i in range(count):
                    values[i] += log_probs[b, block + i]
                peaks[b], masses[b] = _with_exponentials(peaks[b], masses[b], values, count)
            out[b, block : block + count] = values[:count]


@compiled
def _pick(m: Any, weights: Any, rows: Any, units: Any, start: Any, e: int, f: int, out: Any, at: int) -> None:
    """out[at + lane] = start[lane] + sum of weights[rows[lane], h] * units[lane] * scale[h] * level over e .. f - 1."""
    for lane in range(LANES):
        out[at + lane] = start[lane]
    # Slow path, for choices with few entries: 16 weights from 16 distant rows for each.
    for i in range(e, f):
        h = np.int64(m.rows[i])
        # Scale and level are multiplied once for 16 lanes.
        factor = m.scale[h] * m.levels[m.codes[i]]
        for lane in range(LANES):
            out[at + lane] += weights[rows[lane], h] * units[lane] * factor


@compiled
def _with_exponentials(peak: Any, mass: Any, values: Any, count: int) -> Any:
    """(peak, mass) with exp(peak) * mass grown by the sum of exp(values[i]) for i < count.

    The peak follows the largest value only where the mass would grow beyond bounds.
    """
    # Optimistic: the peak seen so far mostly serves. It is replaced only where exponentials above it exceed 2^64;
    # masses are float64, so as many blocks as there are can be added below that.
    added = sum_exp(values, peak, count) if peak > -np.inf else LARGE
    if added < LARGE:
        return peak, mass + added
    highest = largest(values[:count])
    if highest == -np.inf:
        return peak, mass
    return highest, mass * np.exp(peak - highest) + sum_exp(values, highest, count)


@compiled
def log_quotients(above: Any, below: Any, count: int) -> None:
    """above[i] = log(above[i] / below[i]) for i < count; -inf where either is not positive. Error below 2e-6.

    Exponents are subtracted as integers, so no quotient overflows; that of the mantissas, m in (1/2, 2), has
    log m = 2 artanh f, f = (m - 1) / (m + 1), |f| < 1/3.
    """
    for i in range(count):
        high, low = above[i], below[i]
        # (m - 1) / (m + 1) for m = high / low, without the quotient itself.
        f = (mantissa_of(high) - mantissa_of(low)) / (mantissa_of(high) + mantissa_of(low))
        s = f * f
        # artanh f = f + f^3 / 3 + f^5 / 5 + ... + f^11 / 11, innermost term first (Horner).
        series = np.float32(1 / 9) + s * np.float32(1 / 11)
        series = np.float32(1 / 7) + s * series
        series = np.float32(1 / 5) + s * series
        series = np.float32(1 / 3) + s * series
        # `&`, not `and`: both sides are computed, the loop has no branch and becomes vectors.
        value = (exponent_of(high) - exponent_of(low)) * LN2 + np.float32(2) * (f + f * s * series)
        above[i] = value if (high > ZERO) & (low > ZERO) else np.float32(-np.inf)


@compiled
def sum_exp(values: Any, peak: Any, count: int) -> Any:
    """Sum of exp(values[i] - peak) for i < count, float32; peak is finite. Relative error below 2e-6 up to 2^127."""
    total = np.float32(0)
    for i in range(count):
        # exp(d) = 2^power with power = d / ln 2 = whole + rest: 2^whole is made of bits, e^r with |r| <= ln 2 / 2 by
        # its Taylor series up to r^6 / 720.
        power = min(max((values[i] - peak) * LOG2_E, np.float32(-126)), np.float32(127))
        whole = np.floor(power + np.float32(0.5))
        r = (power - whole) * LN2
        series = np.float32(1 / 120) + r * np.float32(1 / 720)
        series = np.float32(1 / 24) + r * series
        series = np.float32(1 / 6) + r * series
        series = np.float32(0.5) + r * series
        total += (np.float32(1) + r + r * r * series) * power_of_two(whole)
    return total
