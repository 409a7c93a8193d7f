"""What numba cannot say itself: loops over stored entries with 16 sums in registers, and the bits of floats.

numba unrolls an inner loop of 16 into scalar code, so `mix` and `spread` are written in LLVM's own language; any
target of LLVM takes them. After a change here delete the folder `__pycache__`: numba's cache of the kernels in
`products` and `log_ratios` looks at the dates of those files only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types

intrinsic: Any = extending.intrinsic  # what it returns takes no typing context: type checkers cannot know

LANES = 16
"""Sequences handled together: one 512-bit register of float32."""

WIDE = 2 * LANES
"""Rows that `spread` handles together: there every entry is a read, an addition and a write."""

# NaN and infinity keep their meaning; sums may be reordered and contracted to fused multiply-adds.
RELAXED = {"contract", "reassoc", "nsz", "arcp"}

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INT64 = ir.IntType(64)
_INT32 = ir.IntType(32)


def compiled(function: Callable[..., Any]) -> Any:
    """njit without the GIL, with a cache on disk, or without one where no folder for it can be written.

    Divisions are the processor's own (`error_model`): the test for zero that Python asks for would keep loops scalar.
    """
    # Without the GIL, so that `threads` can run several parts at once.
    compile_it = partial(njit, nogil=True, fastmath=RELAXED, error_model="numpy")
    try:
        return compile_it(cache=True)(function)
    except RuntimeError:
        return compile_it()(function)


@intrinsic
def mix(
    typing: Any,
    out: Any,
    at: Any,
    start: Any,
    table: Any,
    rows: Any,
    codes: Any,
    levels: Any,
    first: Any,
    last: Any,
) -> Any:
    """out[at : at + LANES] = start + sum of levels[codes[e]] * table[rows[e]] over first <= e < last.

    out: float32 [any], start: [LANES], table: [H, LANES]; all contiguous.
    """
    # numba passes arrays as structures: `_data` takes out their pointers. Numbers stay where they are in `args`.
    signature = types.void(out, types.int64, start, table, rows, codes, levels, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, start, table, rows, codes, levels = _data(context, builder, signature, args, (0, 2, 3, 4, 5, 6))
        initial = builder.load(_vector_at(builder, start, _INT64(0)), align=4)
        before, head, body, after = _loop(builder)
        builder.position_at_end(head)
        # Both change from turn to turn: a phi takes its first value from the block `before`, later ones from `body`. So
        # the sum stays in a register and never goes through memory.
        entry, total = builder.phi(_INT64), builder.phi(_VECTOR)
        builder.cbranch(builder.icmp_signed("<", entry, args[8]), body, after)
        builder.position_at_end(body)
        row, level = _entry(builder, entry, rows, codes, levels)
        # align=4: an array may begin at any float. Without it LLVM would assume the 64 bytes of a whole vector.
        state = builder.load(_vector_at(builder, table, builder.mul(row, _INT64(LANES))), align=4)
        entry.add_incoming(args[7], before)
        total.add_incoming(initial, before)
        entry.add_incoming(builder.add(entry, _INT64(1)), body)
        total.add_incoming(_multiply_add(builder, total, level, state), body)
        builder.branch(head)
        builder.position_at_end(after)
        builder.store(total, _vector_at(builder, out, args[1]), align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def mix_both(
    typing: Any,
    out: Any,
    other_out: Any,
    at: Any,
    start: Any,
    other_start: Any,
    table: Any,
    other_table: Any,
    rows: Any,
    codes: Any,
    levels: Any,
    first: Any,
    last: Any,
) -> Any:
    """`mix` of two tables into two outputs at the same place: entries are read once, and neither sum waits for the
    other."""
    signature = types.void(
        out,
        other_out,
        types.int64,
        start,
        other_start,
        table,
        other_table,
        rows,
        codes,
        levels,
        types.int64,
        types.int64,
    )

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = _data(context, builder, signature, args, (0, 1, 3, 4, 5, 6, 7, 8, 9))
        outs, starts, tables, (rows, codes, levels) = arrays[:2], arrays[2:4], arrays[4:6], arrays[6:]
        initial = [builder.load(_vector_at(builder, start, _INT64(0)), align=4) for start in starts]
        before, head, body, after = _loop(builder)
        builder.position_at_end(head)
        entry, totals = builder.phi(_INT64), [builder.phi(_VECTOR) for _ in outs]
        builder.cbranch(builder.icmp_signed("<", entry, args[11]), body, after)
        builder.position_at_end(body)
        row, level = _entry(builder, entry, rows, codes, levels)
        place = builder.mul(row, _INT64(LANES))
        states = [builder.load(_vector_at(builder, table, place), align=4) for table in tables]
        entry.add_incoming(args[10], before)
        entry.add_incoming(builder.add(entry, _INT64(1)), body)
        for total, begun, state in zip(totals, initial, states, strict=True):
            total.add_incoming(begun, before)
            total.add_incoming(_multiply_add(builder, total, level, state), body)
        builder.branch(head)
        builder.position_at_end(after)
        for total, out in zip(totals, outs, strict=True):
            builder.store(total, _vector_at(builder, out, args[2]), align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def spread(
    typing: Any,
    table: Any,
    values: Any,
    at: Any,
    rows: Any,
    codes: Any,
    levels: Any,
    first: Any,
    last: Any,
) -> Any:
    """table[rows[e]] += levels[codes[e]] * values[at : at + WIDE] for first <= e < last.

    table: float32 [H, WIDE], values: float32 [any]; both contiguous.
    """
    signature = types.void(table, values, types.int64, rows, codes, levels, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        table, values, rows, codes, levels = _data(context, builder, signature, args, (0, 1, 3, 4, 5))
        # The values of this column, two registers of 16, are read once and serve all its entries.
        added = [
            (
                offset,
                builder.load(
                    _vector_at(builder, values, builder.add(args[2], _INT64(offset))),
                    align=4,
                ),
            )
            for offset in range(0, WIDE, LANES)
        ]
        before, head, body, after = _loop(builder)
        builder.position_at_end(head)
        entry = builder.phi(_INT64)
        builder.cbranch(builder.icmp_signed("<", entry, args[7]), body, after)
        builder.position_at_end(body)
        row, level = _entry(builder, entry, rows, codes, levels)
        for offset, vector in added:
            place = _vector_at(
                builder,
                table,
                builder.add(builder.mul(row, _INT64(WIDE)), _INT64(offset)),
            )
            builder.store(
                _multiply_add(builder, builder.load(place, align=4), level, vector),
                place,
                align=4,
            )
        entry.add_incoming(args[6], before)
        entry.add_incoming(builder.add(entry, _INT64(1)), body)
        builder.branch(head)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def exponent_of(typing: Any, x: Any) -> Any:
    """The exponent e of a positive float32 x = mantissa * 2^e, plus 127, as float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Bits of a float32: sign, 8 of the exponent + 127, 23 of the mantissa. The sign of a positive number is 0. The
        # 127 is not taken away: `log_quotients` needs differences of exponents only.
        bits = builder.bitcast(args[0], _INT32)
        return builder.sitofp(builder.lshr(bits, _INT32(23)), ir.FloatType())

    return types.float32(types.float32), generate


@intrinsic
def mantissa_of(typing: Any, x: Any) -> Any:
    """The mantissa in [1, 2) of a positive float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # The last 23 bits, under the exponent of 1.0 (0x3F800000): the same mantissa with 2^0.
        bits = builder.and_(builder.bitcast(args[0], _INT32), _INT32(0x7FFFFF))
        return builder.bitcast(builder.or_(bits, _INT32(0x3F800000)), ir.FloatType())

    return types.float32(types.float32), generate


@intrinsic
def power_of_two(typing: Any, x: Any) -> Any:
    """2 to the power of a whole float32 in [-126, 127]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # A mantissa of 0 stands for 1.0, so the exponent field alone is the power.
        exponent = builder.add(builder.fptosi(args[0], _INT32), _INT32(127))
        return builder.bitcast(builder.shl(exponent, _INT32(23)), ir.FloatType())

    return types.float32(types.float32), generate


@compiled
def fill_lane(table: Any, lane: int, values: Any, unit: Any, scale: Any) -> None:
    """table[h, lane] = values[h] * unit * scale[h]. table: [H, any]; values, scale: [H]."""
    for h in range(len(scale)):
        table[h, lane] = values[h] * unit * scale[h]


@compiled
def largest(x: Any) -> Any:
    """Largest entry of float32 [H], -inf for none; four at a time, because numba does not turn it into vectors."""
    # Four maxima that do not wait for each other.
    a = b = c = d = np.float32(-np.inf)
    whole = len(x) // 4 * 4
    for i in range(0, whole, 4):
        a, b, c, d = max(a, x[i]), max(b, x[i + 1]), max(c, x[i + 2]), max(d, x[i + 3])
    for i in range(whole, len(x)):
        a = max(a, x[i])
    return max(max(a, b), max(c, d))


@compiled
def dot(x: Any, y: Any) -> Any:
    """Inner product of float32 [H] and [H]."""
    total = np.float32(0)
    for h in range(len(x)):
        total += x[h] * y[h]
    return total


def _data(context: Any, builder: Any, signature: Any, args: Any, positions: tuple[int, ...]) -> list[Any]:
    return [context.make_array(signature.args[i])(context, builder, args[i]).data for i in positions]


def _vector_at(builder: Any, base: Any, lane: Any) -> Any:
    return builder.bitcast(builder.gep(base, [lane]), _VECTOR.as_pointer())


def _loop(builder: Any) -> tuple[Any, Any, Any, Any]:
    """The current block, now branching to head; and the new blocks head, body and after."""
    # The usual shape of a loop in LLVM: `head` asks whether to go on, `body` goes back to `head`.
    before = builder.block
    head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
    builder.branch(head)
    return before, head, body, after


def _entry(builder: Any, entry: Any, rows: Any, codes: Any, levels: Any) -> tuple[Any, Any]:
    """The entry's row, and its level in every lane."""
    # Rows are uint16 or int32 (never negative) and codes uint8: filling up with zeros is right for all of them.
    row = builder.zext(builder.load(builder.gep(rows, [entry])), _INT64)
    code = builder.zext(builder.load(builder.gep(codes, [entry])), _INT64)
    level = builder.load(builder.gep(levels, [code]))
    # LLVM's way to repeat a number in all lanes: put it into lane 0, then let every lane pick lane 0.
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, level, _INT32(0))
    everywhere = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
    return row, builder.shuffle_vector(first, nothing, everywhere)


def _multiply_add(builder: Any, total: Any, level: Any, vector: Any) -> Any:
    # `contract` alone: LLVM may fuse both into one instruction, but must keep the order of the sum.
    return builder.fadd(total, builder.fmul(level, vector, flags=["contract"]), flags=["contract"])
