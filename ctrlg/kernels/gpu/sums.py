"""Triton kernels that sum the entries of lists: out[i, l] = sum over entries e of list i of level[e] * x[index[e], l].

`x` is held with its lanes (sequences, or look-ahead rows) side by side, so that one entry reads a stretch of memory.
Bytes: the entries once (3 B each), `x` and `out` once; from the second-level cache 4 B for every entry and lane, which
is what takes the time at many lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_LANES = 64
"""Lanes of a program."""

TILE = 2048
"""Sums of a program: lists times lanes."""


def launcher(kernel: Any, *grid: int) -> Callable[..., None]:
    """`kernel[grid]`, on the device of its first argument, which need not be the current one."""

    def launch(first: Tensor, *others: object, **constants: object) -> None:
        with torch.cuda.device_of(first):
            kernel[grid](first, *others, **constants)

    return launch


def lanes_of_program(lanes: int) -> int:
    """A power of two, the lanes that one program works on."""
    # Triton's ranges have powers of two as lengths.
    return min(MOST_LANES, 1 << (max(1, lanes) - 1).bit_length())


@triton.jit
def piece_sums(
    starts,
    piece_list,
    piece_begin,
    indices,
    codes,
    levels,
    x,
    out,
    lanes,
    LANES: tl.constexpr,
    CHUNK: tl.constexpr,
    PIECE: tl.constexpr,
):
    """out[p, l] = sum of a piece; out float32 [P, lanes], x float32 [m, lanes]."""
    # A program sums one piece for one block of lanes, CHUNK entries a turn.
    piece = tl.program_id(0)
    lane = tl.program_id(1) * LANES + tl.arange(0, LANES)
    begin = tl.load(piece_begin + piece)
    stop = tl.minimum(begin + PIECE, tl.load(starts + tl.load(piece_list + piece) + 1))
    # CHUNK sums side by side, added up once after the loop, not at every turn.
    total = tl.zeros([CHUNK, LANES], tl.float32)
    for at in range(0, PIECE, CHUNK):
        entry = begin + at + tl.arange(0, CHUNK)
        live = entry < stop
        index = tl.load(indices + entry, mask=live, other=0).to(tl.int32)
        level = tl.load(levels + tl.load(codes + entry, mask=live, other=0).to(tl.int32), mask=live, other=0.0)
        # A gather [CHUNK, LANES]: an entry's index picks the row of x, lanes lie side by side.
        value = tl.load(
            x + index[:, None] * lanes + lane[None, :], mask=live[:, None] & (lane < lanes)[None, :], other=0.0
        )
        total += value * level[:, None]
    tl.store(out + piece * lanes + lane, tl.sum(total, axis=0), mask=lane < lanes)


@triton.jit
def list_sums(
    starts,
    first_piece,
    indices,
    codes,
    levels,
    x,
    partial,
    factor,
    offset,
    lane_total,
    out,
    lists,
    lanes,
    LISTS: tl.constexpr,
    LANES: tl.constexpr,
    HEAD: tl.constexpr,
):
    """out[l, i] = factor[i] * (sum of list i in lane l) + offset[i] * lane_total[l]; out float32 [lanes, lists]."""
    item = tl.program_id(0) * LISTS + tl.arange(0, LISTS)
    lane = tl.program_id(1) * LANES + tl.arange(0, LANES)
    there = item < lists
    here = lane < lanes
    start = tl.load(starts + item, mask=there, other=0)
    count = tl.minimum(tl.load(starts + item + 1, mask=there, other=0) - start, HEAD)
    # Entry i of all lists of the program at once, as long as any has one: at most HEAD turns. What a list has beyond
    # was summed in pieces.
    total = tl.zeros([LISTS, LANES], tl.float32)
    most = tl.max(count, axis=0)
    i = 0
    while i < most:
        live = i < count
        index = tl.load(indices + start + i, mask=live, other=0).to(tl.int32)
        level = tl.load(levels + tl.load(codes + start + i, mask=live, other=0).to(tl.int32), mask=live, other=0.0)
        value = tl.load(x + index[:, None] * lanes + lane[None, :], mask=live[:, None] & here[None, :], other=0.0)
        total += value * level[:, None]
        i += 1
    piece = tl.load(first_piece + item, mask=there, other=0)
    pieces = tl.load(first_piece + item + 1, mask=there, other=0) - piece
    most = tl.max(pieces, axis=0)
    i = 0
    while i < most:
        live = (i < pieces)[:, None] & here[None, :]
        total += tl.load(partial + (piece + i)[:, None] * lanes + lane[None, :], mask=live, other=0.0)
        i += 1
    # What is common to a list and what is common to a lane come in after the sum.
    by = tl.load(factor + item, mask=there, other=0.0)
    plus = tl.load(offset + item, mask=there, other=0.0)
    beside = tl.load(lane_total + lane, mask=here, other=0.0)
    # To [LANES, LISTS]: `out` has lists side by side.
    result = tl.trans(total * by[:, None] + plus[:, None] * beside[None, :])
    place = lane[:, None].to(tl.int64) * lists + item[None, :]
    tl.store(out + place, result, mask=here[:, None] & there[None, :])


@triton.jit
def scatter_columns(ids, starts, indices, codes, levels, scale, background, out, states, ENTRIES: tl.constexpr):
    """out[i, h] = scale[h] * level + background[h] for the stored entries of column ids[i]; none where ids[i] < 0."""
    i = tl.program_id(0)
    column = tl.load(ids + i)
    # A missing token reads column 0 below a mask: its row of ones stays as it is.
    known = tl.maximum(column, 0)
    start = tl.load(starts + known)
    stop = tl.load(starts + known + 1)
    entry = start + tl.program_id(1) * ENTRIES + tl.arange(0, ENTRIES)
    live = (entry < stop) & (column >= 0)
    row = tl.load(indices + entry, mask=live, other=0).to(tl.int32)
    level = tl.load(levels + tl.load(codes + entry, mask=live, other=0).to(tl.int32), mask=live, other=0.0)
    value = tl.load(scale + row, mask=live, other=0.0) * level + tl.load(background + row, mask=live, other=0.0)
    # Plain stores: a column has one entry for a state, so no two programs write one place.
    tl.store(out + i.to(tl.int64) * states + row, value, mask=live)


def lists_of_program(lanes: int) -> int:
    """How many lists a program of so many lanes works on."""
    # TILE sums are what a program keeps in registers: few lanes leave room for many lists.
    return max(16, min(256, TILE // lanes))


def entries_of_chunk(lanes: int) -> int:
    """How many entries of a piece a program of so many lanes reads at once."""
    # A chunk times the lanes is what is gathered in one turn: about 1024 values.
    return max(16, min(128, 1024 // lanes))
