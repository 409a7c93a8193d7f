"""A Triton kernel of the next-token scores of a matrix that is held as floats, in one pass over it.

    out[b, v] = log(sum_h x[b, h] w[r, h] M[h, v]) - log(sum_h x[b, h] M[h, v]) + offset[k, b] + logits[b, v]

with k = class of v and r = row_of[k, b]. All tokens of a tile are of one class, so a tile needs one row of weights for
each sequence, and numerator and denominator are two products of tensor cores with the same tile of M: the work is that
of two matrix products, whatever the number of automaton states. Bytes: M once, for the blocks of sequences of one tile
follow each other.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def dense_scores(
    tokens,
    class_of_tile,
    row_of,
    matrix,
    x,
    w,
    offset,
    logits,
    out,
    peaks,
    masses,
    columns,
    lanes,
    largest_logit,
    states: tl.constexpr,
    PRECISION: tl.constexpr,
    TILE: tl.constexpr,
    LANES: tl.constexpr,
    STATES: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """out [lanes, columns]; peaks, masses [tiles, lanes]: each tile's largest value, and its exponentials above it.

    matrix [states, columns] of float32 or bfloat16; x [lanes, states] and w [n, states] of the same type;
    row_of int32 [K, lanes]; offset float32 [K, lanes]. NaN in logits counts as -inf, +inf as largest_logit.
    UPCAST: for Triton's interpreter, which multiplies bfloat16 as if it were integers.
    """
    tile = tl.program_id(1)
    # A tile holds the TILE tokens of one class, -1 behind the last. Those read column 0 below a mask.
    token = tl.load(tokens + tile * TILE + tl.arange(0, TILE))
    there = token >= 0
    token = tl.maximum(token, 0)
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < lanes
    # One class, so one row of weights for each sequence of the block: row is [LANES].
    at_class = tl.load(class_of_tile + tile) * lanes + lane
    row = tl.load(row_of + at_class, mask=here, other=-1)
    alive = row >= 0
    row = tl.maximum(row, 0).to(tl.int64)
    numerator = tl.zeros([LANES, TILE], tl.float32)
    denominator = tl.zeros([LANES, TILE], tl.float32)
    # Tiles of this loop: block [STATES, TILE] of M, a and c [LANES, STATES] of x and w; the sums are [LANES, TILE].
    # 64-bit offsets, because M and w may have more than 2^31 elements.
    for first in range(0, states, STATES):
        state = first + tl.arange(0, STATES)
        inside = state < states
        block = tl.load(
            matrix + state[:, None].to(tl.int64) * columns + token[None, :],
            mask=inside[:, None] & there[None, :],
            other=0.0,
        )
        a = tl.load(
            x + lane[:, None].to(tl.int64) * states + state[None, :], mask=here[:, None] & inside[None, :], other=0.0
        )
        c = tl.load(w + row[:, None] * states + state[None, :], mask=alive[:, None] & inside[None, :], other=0.0)
        if UPCAST:
            a, c, block = a.to(tl.float32), c.to(tl.float32), block.to(tl.float32)
        denominator = tl.dot(a, block, denominator, input_precision=PRECISION)
        # The weight x * w is made here, tile by tile, and never stored: a tensor of it would be [B, n, H].
        both = (a.to(tl.float32) * c.to(tl.float32)).to(a.dtype)
        numerator = tl.dot(both, block, numerator, input_precision=PRECISION)
    # log 1 = 0 stands in for what is masked anyway, so that no log of 0 or less is taken.
    supported = alive[:, None] & (numerator > 0) & (denominator > 0) & there[None, :]
    ratio = tl.log(tl.where(supported, numerator, 1.0)) - tl.log(tl.where(supported, denominator, 1.0))
    ratio += tl.load(offset + at_class, mask=here, other=0.0)[:, None]
    place = lane[:, None].to(tl.int64) * columns + token[None, :]
    mask = here[:, None] & there[None, :]
    logit = tl.load(logits + place, mask=mask, other=float("-inf")).to(tl.float32)
    # Only NaN differs from itself.
    logit = tl.where(logit == logit, logit, float("-inf"))
    logit = tl.where(logit == float("inf"), largest_logit, logit)
    value = tl.where(supported, ratio + logit, float("-inf"))
    peak = tl.max(value, axis=1)
    # A tile of -inf alone has the peak -inf: 0 is subtracted there, and its mass is 0, not NaN.
    above_peak = tl.exp(value - tl.where(peak > float("-inf"), peak, 0.0)[:, None])
    tl.store(peaks + tile * lanes + lane, peak, mask=here)
    tl.store(masses + tile * lanes + lane, tl.sum(above_peak, axis=1), mask=here)
    tl.store(out + place, value, mask=mask)
