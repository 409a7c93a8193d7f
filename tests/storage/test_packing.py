from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.storage import packing
from ctrlg.storage.packing import (
    pack_bits,
    pack_fields,
    pack_unary,
    packed_size,
    unpack_bits,
    unpack_fields,
    unpack_unary,
)
from ctrlg.storage.patterns import Entries, decode_entries, encode_entries


@settings(deadline=None, max_examples=50)
@given(bits=st.integers(1, 8), count=st.integers(0, 70), seed=st.integers(0, 1000))
def test_bits_come_back_and_take_no_more_than_they_need(bits: int, count: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2**bits, count).astype(np.uint8)
    packed = pack_bits(values, bits)
    assert packed.nbytes == packed_size(count, bits) == -(-count * bits // 8)
    assert unpack_bits(packed, bits, count).tolist() == values.tolist()


def test_bits_are_laid_out_from_the_least_significant() -> None:
    assert pack_bits(np.array([1, 2, 3, 0, 3], dtype=np.uint8), 2).tolist() == [0b00_11_10_01, 0b11]


def test_chunks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_CHUNK", 16)
    values = np.arange(100, dtype=np.uint8) % 8
    packed = pack_bits(values, 3)
    assert packed.size == packed_size(100, 3)
    assert unpack_bits(packed, 3, 100).tolist() == values.tolist()


def test_a_value_too_large_is_refused() -> None:
    with pytest.raises(ArgumentError, match="4 does not fit into 2 bits"):
        pack_bits(np.array([1, 4], dtype=np.uint8), 2)


@pytest.mark.parametrize("change", [-1, 1])
def test_codes_of_another_size_are_refused(change: int) -> None:
    packed = pack_bits(np.zeros(20, dtype=np.uint8), 3)
    with pytest.raises(CheckpointError, match="expected 8"):
        unpack_bits(np.resize(packed, packed.size + change), 3, 20)


@settings(deadline=None, max_examples=50)
@given(values=arrays(np.int64, st.integers(0, 40), elements=st.integers(0, 5000)))
def test_unary_and_fields_come_back(values: np.ndarray) -> None:
    assert unpack_unary(pack_unary(values), values.size).tolist() == values.tolist()
    widths = np.array([int(value).bit_length() for value in values], dtype=np.int64)
    assert unpack_fields(pack_fields(values, widths), widths).tolist() == values.tolist()


def test_a_cut_unary_stream_is_refused() -> None:
    packed = pack_unary(np.array([3, 9, 2], dtype=np.int64))
    with pytest.raises(CheckpointError, match="expected 3"):
        unpack_unary(packed[:-1], 3)


@settings(deadline=None, max_examples=60)
@given(lines=st.integers(1, 30), size=st.integers(1, 50), density=st.floats(0, 1), seed=st.integers(0, 1000))
def test_entries_come_back(lines: int, size: int, density: float, seed: int) -> None:
    line, place = np.nonzero(np.random.default_rng(seed).random((lines, size)) < density)
    streams = encode_entries(Entries(line, place), lines, size)
    found = decode_entries(streams, lines, size, line.size)
    assert found.line.tolist() == line.tolist()
    assert found.place.tolist() == place.tolist()


def test_sparse_entries_cost_little_more_than_their_entropy() -> None:
    lines, size, density = 3000, 512, 0.02
    line, place = np.nonzero(np.random.default_rng(0).random((lines, size)) < density)
    bits = 8 * sum(stream.nbytes for stream in encode_entries(Entries(line, place), lines, size).values())
    entropy = -(density * np.log2(density) + (1 - density) * np.log2(1 - density)) * lines * size
    assert entropy < bits < 1.15 * entropy


def test_a_place_beyond_the_line_is_refused() -> None:
    streams = encode_entries(Entries(np.array([0, 1]), np.array([3, 10])), lines=2, size=11)
    assert decode_entries(streams, 2, 11, 2).place.tolist() == [3, 10]
    with pytest.raises(CheckpointError, match=r"an entry lies at 10, outside \[0, 10\)"):
        decode_entries(streams, 2, 10, 2)


def test_another_number_of_entries_is_refused() -> None:
    streams = encode_entries(Entries(np.array([0, 1]), np.array([3, 9])), lines=2, size=10)
    with pytest.raises(CheckpointError, match="3 are expected"):
        decode_entries(streams, 2, 10, 3)
