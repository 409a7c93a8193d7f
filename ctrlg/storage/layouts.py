"""The two ways a compressed matrix is laid out, and the bytes each takes on disk.

*Dense*: a code of `bits` bits for every entry. *Sparse*: codes of the entries that differ from the
background, and where these are (`ctrlg.storage.patterns`). `pack_matrix` turns a matrix into arrays for a
file, `unpack_matrix` reads them back and refuses whatever is no matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.matrices import CompressedMatrix, QuantizedRows
from ctrlg.storage.packing import pack_bits, packed_size, unpack_bits
from ctrlg.storage.patterns import STREAMS, Entries, decode_entries, encode_entries

LAYOUTS = ("auto", "dense", "sparse")
LEVELS = ("codebook", "scale", "background")
GAP_BITS = 32  # more than the place of an entry takes: where so many fit into codes for all entries, none are encoded


class PackedMatrix(NamedTuple):
    """A matrix as it lies in a file.

    layout: "dense" or "sparse". lines: the axis along which sparse entries are listed, "rows" or "columns"; None when
    dense. entries: codes stored. arrays: by name; LEVELS are float32, `codes` and STREAMS are packed uint8.
    """

    layout: str
    lines: str | None
    entries: int
    arrays: dict[str, np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())


def check_layout(layout: str) -> None:
    """Raise ArgumentError for an unknown layout."""
    if layout not in LAYOUTS:
        raise ArgumentError(f"layout is {layout!r}", hint=f"one of {', '.join(LAYOUTS)}")


def arrange(rows: QuantizedRows, bits: int, layout: str = "auto", normalised: bool = True) -> CompressedMatrix:
    """Quantised rows as a compressed matrix, in the given layout or in the one that is smaller on disk.

    normalised: whether rows must sum to 1. Raises ArgumentError for an unknown layout, and rows that do not though
    they must.
    """
    check_layout(layout)
    levels = (rows.scale, rows.background, rows.codebook)
    if layout == "dense":
        return CompressedMatrix.from_codes(rows.codes, *levels, normalised=normalised)
    states, size = rows.codes.shape
    if layout == "auto" and int(rows.codes.count_nonzero()) * (bits + 1) >= states * size * bits:
        return CompressedMatrix.from_codes(rows.codes, *levels, normalised=normalised)  # a gap takes at least one bit
    row, column = rows.codes.nonzero(as_tuple=True)
    indptr = torch.zeros(states + 1, dtype=torch.int64, device=row.device)
    indptr[1:] = torch.bincount(row, minlength=states).cumsum(0)
    codes = rows.codes[row, column]
    sparse = CompressedMatrix.from_rows(indptr, column, codes, *levels, shape=(states, size), normalised=normalised)
    least, most = packed_size(states * size, bits), len(codes) * (bits + GAP_BITS) // 8 + 8 * (states + size)
    if layout == "auto" and most > least and least < pack_matrix(sparse, bits).nbytes - _level_bytes(sparse):
        return CompressedMatrix.from_codes(rows.codes, *levels, normalised=normalised)
    return sparse


def pack_matrix(matrix: CompressedMatrix, bits: int) -> PackedMatrix:
    """The matrix for a file, codes in `bits` bits; a sparse one along the axis that takes fewer bytes."""
    levels = {name: getattr(matrix, name).cpu().numpy() for name in LEVELS}
    if matrix.layout == "dense":
        codes = matrix.codes.cpu().numpy()
        return PackedMatrix("dense", None, codes.size, {**levels, "codes": pack_bits(codes, bits)})
    states, size = matrix.shape
    indptr, columns, codes = (tensor.cpu().numpy() for tensor in matrix.row_entries())
    columns = columns.astype(np.int64)
    row = np.repeat(np.arange(states, dtype=np.int64), np.diff(indptr))
    order = np.argsort(columns, kind="stable")
    by_column = encode_entries(Entries(columns[order], row[order]), size, states)
    by_row = encode_entries(Entries(row, columns), states, size)
    if _total(by_column) <= _total(by_row):
        streams, lines, codes = by_column, "columns", codes[order]
    else:
        streams, lines = by_row, "rows"
    return PackedMatrix("sparse", lines, codes.size, {**levels, **streams, "codes": pack_bits(codes, bits)})


def unpack_matrix(packed: PackedMatrix, shape: tuple[int, int], bits: int) -> CompressedMatrix:
    """The matrix that `pack_matrix` packed, validated.

    Raises CheckpointError for missing or foreign arrays, wrong sizes, a column out of range, scales or
    backgrounds that are negative or not finite, a codebook that does not rise from 0, and rows that do not
    sum to 1.
    """
    arrays = packed.arrays
    expected = {*LEVELS, "codes", *(STREAMS if packed.layout == "sparse" else ())}
    if set(arrays) != expected:
        raise CheckpointError(
            f"a {packed.layout} matrix holds {', '.join(sorted(expected))}, not {', '.join(sorted(arrays))}"
        )
    scale, background, codebook = _checked_levels(arrays, shape, bits)
    states, size = shape
    try:
        if packed.layout == "dense":
            codes = unpack_bits(arrays["codes"], bits, states * size).reshape(states, size)
            return CompressedMatrix.from_codes(torch.from_numpy(codes), scale, background, codebook)
        codes = unpack_bits(arrays["codes"], bits, packed.entries)
        if not codes.all():
            raise CheckpointError("codes are out of range: a stored entry has level 0", hint="the file is damaged")
        by_column = packed.lines == "columns"
        line, place = decode_entries(arrays, *((size, states) if by_column else (states, size)), codes.size)
        row, column = (place, line) if by_column else (line, place)
        order = np.argsort(row, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=states))])
        return CompressedMatrix.from_rows(
            torch.from_numpy(indptr),
            torch.from_numpy(column[order]),
            torch.from_numpy(codes[order]),
            scale,
            background,
            codebook,
            shape,
        )
    except ArgumentError as error:
        raise CheckpointError(error.message, hint=error.hint or "the file is damaged") from error


def _checked_levels(arrays: dict[str, np.ndarray], shape: tuple[int, int], bits: int) -> tuple[Tensor, Tensor, Tensor]:
    sizes = {"scale": shape[0], "background": shape[0], "codebook": 2**bits}
    for name, size in sizes.items():
        array = arrays[name]
        if array.dtype != np.float32 or array.shape != (size,):
            raise CheckpointError(f"{name} is {array.dtype} {list(array.shape)}, expected float32 [{size}]")
        if not np.isfinite(array).all() or (array < 0).any():
            raise CheckpointError(f"{name} holds a number that is negative or not finite")
    codebook = arrays["codebook"]
    if codebook[0] != 0 or (np.diff(codebook) < 0).any():
        raise CheckpointError("the codebook does not rise from 0")
    scale, background, levels = (torch.from_numpy(arrays[name]) for name in ("scale", "background", "codebook"))
    return scale, background, levels


def _level_bytes(matrix: CompressedMatrix) -> int:
    return sum(getattr(matrix, name).nbytes for name in LEVELS)


def _total(streams: dict[str, np.ndarray]) -> int:
    return sum(stream.nbytes for stream in streams.values())
