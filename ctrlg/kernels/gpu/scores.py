"""Triton kernels of the next-token scores: numerator, denominator, logarithm, mask and the model's logits in one pass.

    out[b, v] = log(sum_h x[h, b] level(h, v) w[h, r]) - log(sum_h x[h, b] level(h, v)) + offset[k, b] + logits[b, v]

with k = class of v and r = row_of[k, b], the row of weights that sequence b uses for tokens of class k; -inf where r is
-1. PAIRED: numerators weigh by x * w, so that no weights are built for each sequence and next state; otherwise by w
alone. Bytes: entries (3 B), logits and out (4 B each) once, each output element written once; from the second-level
cache 8 B for every entry and sequence, which is what takes the time at many sequences.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["w_index_stride"])  # the rows of a step's table: another number at every step
def score_pieces(
    starts,
    piece_list,
    piece_begin,
    indices,
    codes,
    levels,
    class_of,
    row_of,
    x,
    w,
    above,
    below,
    lanes,
    w_index_stride,
    w_row_stride,
    PAIRED: tl.constexpr,
    LANES: tl.constexpr,
    CHUNK: tl.constexpr,
    PIECE: tl.constexpr,
):
    """above, below [P, lanes]: numerators and denominators of the pieces.

    x: float32 [H, lanes]. row_of: int32 [K, lanes]. w: float32, row r at r * w_row_stride.
    """
    # A program sums one piece for one block of lanes.
    piece = tl.program_id(0)
    lane = tl.program_id(1) * LANES + tl.arange(0, LANES)
    here = lane < lanes
    column = tl.load(piece_list + piece)
    begin = tl.load(piece_begin + piece)
    stop = tl.minimum(begin + PIECE, tl.load(starts + column + 1))
    # All entries of a piece are of one column, so one class: a row of weights for each lane, [LANES].
    row = tl.load(row_of + tl.load(class_of + column) * lanes + lane, mask=here, other=-1)
    alive = row >= 0
    place = tl.maximum(row, 0).to(tl.int64) * w_row_stride
    # CHUNK sums side by side, added up once after the loop, not at every turn.
    numerator = tl.zeros([CHUNK, LANES], tl.float32)
    denominator = tl.zeros([CHUNK, LANES], tl.float32)
    for at in range(0, PIECE, CHUNK):
        entry = begin + at + tl.arange(0, CHUNK)
        live = entry < stop
        index = tl.load(indices + entry, mask=live, other=0).to(tl.int32)
        level = tl.load(levels + tl.load(codes + entry, mask=live, other=0).to(tl.int32), mask=live, other=0.0)
        # Gathers [CHUNK, LANES]: the state of an entry picks the row, lanes lie side by side. An offset into w is
        # 64-bit, since its rows times H may pass 2^31.
        mask = live[:, None] & here[None, :]
        value = tl.load(x + index[:, None] * lanes + lane[None, :], mask=mask, other=0.0) * level[:, None]
        weight = tl.load(
            w + index[:, None].to(tl.int64) * w_index_stride + place[None, :], mask=mask & alive[None, :], other=0.0
        )
        denominator += value
        numerator += weight * (value if PAIRED else level[:, None])
    at_piece = piece * lanes + lane
    tl.store(above + at_piece, tl.sum(numerator, axis=0), mask=here)
    tl.store(below + at_piece, tl.sum(denominator, axis=0), mask=here)


@triton.jit(do_not_specialize=["w_index_stride", "start_lane_stride"])
def score_lists(
    starts,
    first_piece,
    indices,
    codes,
    levels,
    class_of,
    row_of,
    x,
    w,
    above,
    below,
    above_start,
    below_start,
    offset,
    logits,
    out,
    peaks,
    masses,
    columns,
    lanes,
    w_index_stride,
    w_row_stride,
    start_lane_stride,
    largest_logit,
    PAIRED: tl.constexpr,
    JOINED: tl.constexpr,
    COLUMNS: tl.constexpr,
    LANES: tl.constexpr,
    HEAD: tl.constexpr,
):
    """out [lanes, columns] and, for each block of columns, its largest value and the sum of exponentials above it.

    above_start: numerators' share of the background, at r + b * start_lane_stride; below_start [lanes]. offset float32
    [K, lanes]. logits [lanes, columns]; NaN counts as -inf, +inf as largest_logit. peaks, masses [blocks, lanes].
    """
    # A program holds sums [COLUMNS, LANES]: one block of columns for one block of lanes.
    block = tl.program_id(0)
    column = block * COLUMNS + tl.arange(0, COLUMNS)
    lane = tl.program_id(1) * LANES + tl.arange(0, LANES)
    there = column < columns
    here = lane < lanes
    inside = there[:, None] & here[None, :]
    token_class = tl.load(class_of + column, mask=there, other=0)
    at_class = token_class[:, None] * lanes + lane[None, :]
    # The row of weights of each column and lane, by the column's class; -1 is dead.
    row = tl.load(row_of + at_class, mask=inside, other=-1)
    alive = row >= 0
    row = tl.maximum(row, 0).to(tl.int64)
    place = row * w_row_stride
    # Sums start with the background's share, which every column has, stored entries or not.
    numerator = tl.load(above_start + row + lane[None, :] * start_lane_stride, mask=alive, other=0.0)
    denominator = tl.load(below_start + lane, mask=here, other=0.0)[None, :] + tl.zeros([COLUMNS, LANES], tl.float32)
    start = tl.load(starts + column, mask=there, other=0)
    count = tl.minimum(tl.load(starts + column + 1, mask=there, other=0) - start, HEAD)
    # Entry i of all columns at once, as long as any has one: at most HEAD turns, so that one long column does not keep
    # the others waiting. Its rest was summed in pieces, which are added next.
    most = tl.max(count, axis=0)
    i = 0
    while i < most:
        live = i < count
        index = tl.load(indices + start + i, mask=live, other=0).to(tl.int32)
        level = tl.load(levels + tl.load(codes + start + i, mask=live, other=0).to(tl.int32), mask=live, other=0.0)
        mask = live[:, None] & here[None, :]
        value = tl.load(x + index[:, None] * lanes + lane[None, :], mask=mask, other=0.0) * level[:, None]
        weight = tl.load(
            w + index[:, None].to(tl.int64) * w_index_stride + place, mask=live[:, None] & alive, other=0.0
        )
        denominator += value
        numerator += weight * (value if PAIRED else level[:, None])
        i += 1
    piece = tl.load(first_piece + column, mask=there, other=0)
    pieces = tl.load(first_piece + column + 1, mask=there, other=0) - piece
    most = tl.max(pieces, axis=0)
    i = 0
    while i < most:
        mask = (i < pieces)[:, None] & here[None, :]
        at_piece = (piece + i)[:, None] * lanes + lane[None, :]
        numerator += tl.load(above + at_piece, mask=mask, other=0.0)
        denominator += tl.load(below + at_piece, mask=mask, other=0.0)
        i += 1

    # log 1 = 0 stands in for what is masked anyway, so that no log of 0 or less is taken.
    supported = alive & (numerator > 0) & (denominator > 0)
    ratio = tl.log(tl.where(supported, numerator, 1.0)) - tl.log(tl.where(supported, denominator, 1.0))
    ratio += tl.load(offset + at_class, mask=inside, other=0.0)
    # To [LANES, COLUMNS]: `out` and the logits have columns side by side.
    value = tl.trans(tl.where(supported, ratio, float("-inf")))
    place_out = lane[:, None].to(tl.int64) * columns + column[None, :]
    mask_out = here[:, None] & there[None, :]
    if JOINED:
        logit = tl.load(logits + place_out, mask=mask_out, other=float("-inf")).to(tl.float32)
        # Only NaN differs from itself.
        logit = tl.where(logit == logit, logit, float("-inf"))
        value += tl.where(logit == float("inf"), largest_logit, logit)
        peak = tl.max(value, axis=1)
        # A block of -inf alone has the peak -inf: 0 is subtracted there, and its mass is 0, not NaN.
        above_peak = tl.exp(value - tl.where(peak > float("-inf"), peak, 0.0)[:, None])
        tl.store(peaks + block * lanes + lane, peak, mask=here)
        tl.store(masses + block * lanes + lane, tl.sum(above_peak, axis=1), mask=here)
    tl.store(out + place_out, value, mask=mask_out)
