"""Where the entries of a sparse matrix are, in few bits: Golomb-Rice gaps along one axis.

The matrix is cut into lines (its columns or its rows, whichever is smaller on disk). A line with `n` entries
among `size` places has gaps of mean `(size - n) / n` between them, and Golomb-Rice codes with the parameter
that suits this mean spend about `log2(size / n) + 1.5` bits on an entry, near the entropy. The parameter
follows from `n`, so only the `n` of every line is stored beside the gaps (as an Elias-gamma code, one bit for
an empty line). In the emission matrix of a language model nearly all entries are in the columns of few
frequent tokens, where gaps between states are short: lines are columns there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ctrlg.errors import CheckpointError
from ctrlg.storage.packing import pack_fields, pack_unary, unpack_fields, unpack_unary

STREAMS = ("count_lengths", "count_bits", "gap_quotients", "gap_remainders")


class Entries(NamedTuple):
    """The stored entries of a matrix, line after line, places increasing within a line.

    line, place: int64 [E] coordinates.
    """

    line: np.ndarray
    place: np.ndarray


def encode_entries(entries: Entries, lines: int, size: int) -> dict[str, np.ndarray]:
    """The four streams (uint8, names in STREAMS) that hold the entries of `lines` lines with `size` places each."""
    counts = np.bincount(entries.line, minlength=lines)
    lengths = _bit_lengths(counts)
    widths = _rice_widths(counts, size)[entries.line]
    starts = np.cumsum(counts) - counts
    previous = np.empty_like(entries.place)
    previous[1:] = entries.place[:-1]
    previous[starts[counts > 0]] = -1
    gaps = entries.place - previous - 1
    return {
        "count_lengths": pack_unary(lengths),
        "count_bits": pack_fields(counts + 1, lengths),
        "gap_quotients": pack_unary(gaps >> widths),
        "gap_remainders": pack_fields(gaps, widths),
    }


def decode_entries(streams: dict[str, np.ndarray], lines: int, size: int, entries: int) -> Entries:
    """The `entries` entries written by `encode_entries`.

    Raises CheckpointError where a stream is cut, too long, or leads to a place outside [0, size).
    """
    lengths = unpack_unary(streams["count_lengths"], lines)
    if int(lengths.max(initial=0)) > size.bit_length():
        raise CheckpointError(f"a line of {size} places claims more entries than that", hint=_DAMAGED)
    counts = unpack_fields(streams["count_bits"], lengths) + (np.int64(1) << lengths) - 1
    if int(counts.max(initial=0)) > size or int(counts.sum()) != entries:
        raise CheckpointError(
            f"{int(counts.sum())} entries, at most {int(counts.max(initial=0))} in a line of {size} places; "
            f"{entries} are expected",
            hint=_DAMAGED,
        )
    line = np.repeat(np.arange(lines, dtype=np.int64), counts)
    widths = _rice_widths(counts, size)[line]
    quotients = unpack_unary(streams["gap_quotients"], line.size)
    steps = (quotients << widths) + unpack_fields(streams["gap_remainders"], widths) + 1
    total = np.cumsum(steps)
    before = np.concatenate([[0], total])[np.cumsum(counts) - counts]
    place = total - np.repeat(before, counts) - 1
    if place.size and int(place.max()) >= size:
        raise CheckpointError(f"an entry lies at {int(place.max())}, outside [0, {size})", hint=_DAMAGED)
    return Entries(line, place)


_DAMAGED = "the file is damaged; save or download it again"


def _bit_lengths(counts: np.ndarray) -> np.ndarray:
    """floor(log2(counts + 1)), int64."""
    return np.frexp((counts + 1).astype(np.float64))[1].astype(np.int64) - 1


def _rice_widths(counts: np.ndarray, size: int) -> np.ndarray:
    """Bits of the remainder for the gaps of every line, int64: the best Rice parameter for a geometric law of
    their mean.

    1 + floor(log2(mean * ln(golden ratio))), in integers, so that every machine decodes alike.
    """
    shrunk_mean = (size - counts) * 4812 // (10_000 * np.maximum(counts, 1))
    return np.frexp(shrunk_mean.astype(np.float64))[1].astype(np.int64)
