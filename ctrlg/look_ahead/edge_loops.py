"""Compiled loops of decoding on the CPU; imported only where they run, so that `import ctrlg` compiles nothing.

Those over hidden states have a twin in plain torch beside their caller, which is the definition and serves every other
device. What such a kernel does is cut into `parts`, of which a call does one. The others, over edges alone, spare the
dozens of small numpy operations that a single sequence would wait for at every token.
"""

from __future__ import annotations

import numpy as np

from ctrlg.kernels.lanes import compiled
from ctrlg.kernels.lanes import largest as largest_entry

TINY = 1e-100  # a row below it is moved up; what is relevant in it stays far above the least float64
COLUMNS = 512  # of a block: a few hundred rows of float32 of that length stay in the second-level cache


@compiled
def live_edges(
    edge_start: np.ndarray,
    edge_target: np.ndarray,
    edge_set: np.ndarray,
    edge_of: np.ndarray,
    states: np.ndarray,
    row_of: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The fields of `LiveEdges`; the automaton's arrays, states int [n], and row_of int [S]."""
    start = np.zeros(len(states) + 1, np.int64)
    widest = 0
    for i, state in enumerate(states):
        widest = max(widest, edge_start[state + 1] - edge_start[state])
        start[i + 1] = start[i]
        for edge in range(edge_start[state], edge_start[state + 1]):
            start[i + 1] += row_of[edge_target[edge]] >= 0
    source = np.empty(start[-1], np.int64)
    target, mass = np.empty(start[-1], row_of.dtype), np.empty(start[-1], edge_set.dtype)
    of_class = np.full((len(states), edge_of.shape[1] + 1), -1, np.int32)
    numbers = np.empty(widest, np.int64)  # of a state's edges among the live ones
    for i, state in enumerate(states):
        number = start[i]
        for edge in range(edge_start[state], edge_start[state + 1]):
            row = row_of[edge_target[edge]]
            numbers[edge - edge_start[state]] = number if row >= 0 else -1
            if row >= 0:
                source[number], target[number], mass[number] = i, row, edge_set[edge]
                number += 1
        for k in range(edge_of.shape[1]):
            if edge_of[state, k] >= 0:
                of_class[i, k] = numbers[edge_of[state, k]]
    return source, start, target, mass, of_class


@compiled
def shared_scales(
    log_scale: np.ndarray, right_row: np.ndarray, left_row: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """scale[u] = the largest log_scale[right_row[r]] with left_row[r] == u, float64 [count], -inf where there is none;
    and factor[r] = exp(log_scale[right_row[r]] - scale[left_row[r]]), float32 [R]."""
    scale = np.full(count, -np.inf)
    for r in range(len(left_row)):
        scale[left_row[r]] = max(scale[left_row[r]], log_scale[right_row[r]])
    factor = np.zeros(len(left_row), np.float32)
    for r in range(len(left_row)):
        own = log_scale[right_row[r]]
        if own > -np.inf:
            factor[r] = np.float32(np.exp(own - scale[left_row[r]]))
    return scale, factor


@compiled
def largest_of(left_row: np.ndarray, largest: np.ndarray, count: int) -> np.ndarray:
    """top[u] = the largest largest[r] with left_row[r] == u, float64 [count], at least 0."""
    top = np.zeros(count)
    for r in range(len(left_row)):
        top[left_row[r]] = max(top[left_row[r]], np.float64(largest[r]))
    return top


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
        for h in range(len(row)):
            row[h] = a[h] * b[h] * by
        largest[r] = largest_entry(row)  # apart from the products, which are vectors then


@compiled
def rescale(row: np.ndarray, largest: float) -> float:
    """Divide the row by its largest entry, and return the logarithm of that; -inf where it is 0."""
    if largest == 0.0:
        return -np.inf
    for h in range(len(row)):
        row[h] /= largest
    return np.log(largest)


@compiled
def multiply_factors(
    left: np.ndarray,
    left_row: np.ndarray,
    values: np.ndarray,
    core: np.ndarray,
    factors: np.ndarray,
    factor: np.ndarray,
    order: np.ndarray,
    ends: np.ndarray,
    out: np.ndarray,
    log_scale: np.ndarray,
    part: int,
    parts: int,
) -> None:
    """out[r] * exp(log_scale[r]) = left[left_row[r]] * values[core[r]] * prod over clauses of their share.

    left [U, H], values [n, H] float32; core [R], factors [R, P] int64, rows of values or -1; factor [R, P] float64.
    Clause c has the alternatives order[ends[c]] .. order[ends[c + 1]]. out [R, H], log_scale [R] float64; the largest
    of a row is 1, or the row is 0 and its scale -inf.
    """
    width = out.shape[1]
    inverse = np.empty(width)
    share = np.empty(width)
    for r in range(part, len(left_row), parts):
        row = out[r]
        if core[r] < 0:
            row[:] = 0.0
            log_scale[r] = -np.inf
            continue
        log_scale[r] = 0.0
        whole = values[core[r]]
        before = left[left_row[r]]
        for h in range(width):
            # A hidden state from which the core cannot accept has no share of anything.
            inverse[h] = 1.0 / whole[h] if whole[h] > 0 else 0.0
            row[h] = np.float64(before[h]) * whole[h]
        for clause in range(len(ends) - 1):
            first, last = ends[clause], ends[clause + 1]
            settled = False
            for place in range(first, last):
                settled |= factors[r, order[place]] == core[r]
            if settled:  # a share of 1
                continue
            if last == first + 1:
                # One alternative, the common case: no way round through 1 - (1 - p), which small p would not survive.
                at = factors[r, order[first]]
                by = factor[r, order[first]]
                if at < 0:
                    share[:] = 0.0
                else:
                    own = values[at]
                    for h in range(width):
                        share[h] = min(1.0, own[h] * inverse[h] * by)
            else:
                share[:] = 0.0
                for place in range(first, last):
                    at = factors[r, order[place]]
                    by = factor[r, order[place]]
                    if at < 0:
                        continue
                    own = values[at]
                    for h in range(width):
                        share[h] += min(1.0, own[h] * inverse[h] * by) * (1.0 - share[h])
            top = 0.0
            for h in range(width):
                row[h] *= share[h]
                top = max(top, row[h])
            if top < TINY:
                log_scale[r] += rescale(row, top)
        top = 0.0
        for h in range(width):
            top = max(top, row[h])
        log_scale[r] += rescale(row, top)
