"""Bit packing: numbers of few bits laid end to end, the least significant bit first.

Three encodings of non-negative integers: fields of one width (`pack_bits`), fields of given widths
(`pack_fields`) and unary (`pack_unary`: `n` zeros, then a one). Golomb-Rice and Elias-gamma codes are a unary
part and a field part, kept in separate streams so that numpy reads them without a loop over the entries.
Every reader takes the number of values it expects and refuses a stream that holds more or fewer.
"""

from __future__ import annotations

import numpy as np

from ctrlg.errors import ArgumentError, CheckpointError

_CHUNK = 1 << 20  # values packed at a time; a multiple of 8, so that a chunk ends on a whole byte


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` fields of `bits` bits take."""
    return (count * bits + 7) // 8


def pack_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Pack `values` (unsigned, flattened) into `bits` bits each, 1 <= bits <= 8; uint8 [packed_size(n, bits)].

    Raises ArgumentError where a value needs more bits.
    """
    flat = np.ascontiguousarray(values, dtype=np.uint8).reshape(-1)
    if flat.size and int(flat.max()) >> bits:
        raise ArgumentError(f"the value {int(flat.max())} does not fit into {bits} bits")
    if bits == 8:
        return flat.copy()
    chunks = [
        np.packbits(
            np.unpackbits(flat[at : at + _CHUNK, None], axis=1, count=bits, bitorder="little"), bitorder="little"
        )
        for at in range(0, flat.size, _CHUNK)
    ]
    return np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.uint8)


def unpack_bits(data: np.ndarray, bits: int, count: int) -> np.ndarray:
    """The `count` values packed by `pack_bits`, uint8 [count].

    Raises CheckpointError where `data` has another size than these values take.
    """
    data = _expect(data, packed_size(count, bits), "bit-packed codes")
    if bits == 8:
        return data.copy()
    values = np.empty(count, dtype=np.uint8)
    for at in range(0, count, _CHUNK):
        part = min(_CHUNK, count - at)
        start = at * bits // 8
        raw = np.unpackbits(data[start : start + packed_size(part, bits)], count=part * bits, bitorder="little")
        values[at : at + part] = np.packbits(raw.reshape(part, bits), axis=1, bitorder="little")[:, 0]
    return values


def pack_fields(values: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Pack the lowest `widths[i]` bits of every `values[i]`, uint8 [packed_size(widths.sum(), 1)]."""
    offsets = np.cumsum(widths, dtype=np.int64) - widths
    stream = np.zeros(int(np.sum(widths, dtype=np.int64)), dtype=np.uint8)
    for bit in range(int(widths.max(initial=0))):
        wide = widths > bit
        stream[offsets[wide] + bit] = (values[wide] >> bit) & 1
    return np.packbits(stream, bitorder="little")


def unpack_fields(data: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """The values packed by `pack_fields` with these widths, int64 [n].

    Raises CheckpointError where `data` has another size than these widths need.
    """
    total = int(np.sum(widths, dtype=np.int64))
    stream = np.unpackbits(_expect(data, packed_size(total, 1), "fields"), count=total, bitorder="little")
    offsets = np.cumsum(widths, dtype=np.int64) - widths
    values = np.zeros(widths.size, dtype=np.int64)
    for bit in range(int(widths.max(initial=0))):
        wide = widths > bit
        values[wide] |= stream[offsets[wide] + bit].astype(np.int64) << bit
    return values


def pack_unary(values: np.ndarray) -> np.ndarray:
    """Every value as that many zeros and a one, uint8 [packed_size(values.sum() + n, 1)]."""
    ends = np.cumsum(values.astype(np.int64) + 1)
    stream = np.zeros(int(ends[-1]) if ends.size else 0, dtype=np.uint8)
    stream[ends - 1] = 1
    return np.packbits(stream, bitorder="little")


def unpack_unary(data: np.ndarray, count: int) -> np.ndarray:
    """The `count` values packed by `pack_unary`, int64 [count].

    Raises CheckpointError where `data` does not hold exactly that many.
    """
    ends = np.flatnonzero(np.unpackbits(_bytes(data), bitorder="little"))
    if ends.size != count:
        raise CheckpointError(f"a unary stream holds {ends.size} values, expected {count}", hint=_DAMAGED)
    _expect(data, packed_size(int(ends[-1]) + 1 if count else 0, 1), "a unary stream")
    return np.diff(ends, prepend=-1) - 1


_DAMAGED = "the file is damaged; save or download it again"


def _bytes(data: np.ndarray) -> np.ndarray:
    if data.dtype != np.uint8 or data.ndim != 1:
        raise CheckpointError(f"packed data are uint8 of one dimension, not {data.dtype} {data.shape}", hint=_DAMAGED)
    return data


def _expect(data: np.ndarray, size: int, what: str) -> np.ndarray:
    if _bytes(data).size != size:
        raise CheckpointError(f"{what}: {data.size} bytes, expected {size}", hint=_DAMAGED)
    return data
