"""CompressedMatrix: both layouts pass the algebra, entries survive the change of order, bad entries are refused."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from helpers.matrix_algebra import SEEDS, StochasticMatrixAlgebra, assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.matrices import CompressedMatrix


class Quantized(NamedTuple):
    """A matrix like a given one: which entries are stored, as which codes, and the levels. Rows are normalised."""

    stored: Tensor
    codes: Tensor
    scale: Tensor
    background: Tensor
    codebook: Tensor

    @classmethod
    def of(cls, dense: Tensor, levels: int) -> Quantized:
        background = dense.amin(dim=1)
        excess = dense - background[:, None]
        peak = excess.amax(dim=1).clamp(min=1e-30)
        codebook = torch.linspace(0, 1, levels + 1)[1:]
        stored = excess > peak[:, None] * 1e-5
        codes = ((excess / peak[:, None] * levels).ceil().long() - 1).clamp(0, levels - 1)
        total = (peak[:, None] * codebook[codes] * stored).sum(dim=1) + background * dense.shape[1]
        return cls(stored, codes, peak / total, background / total, codebook)

    def sparse(self) -> CompressedMatrix:
        indptr = torch.cat([torch.zeros(1, dtype=torch.int64), self.stored.sum(dim=1).cumsum(0)])
        columns, codes = self.stored.nonzero()[:, 1], self.codes[self.stored]
        hidden_states, size = self.stored.shape
        return CompressedMatrix.from_rows(
            indptr, columns, codes, self.scale, self.background, self.codebook, (hidden_states, size)
        )


class TestSparseLayout(StochasticMatrixAlgebra):
    def make(self, dense: Tensor) -> CompressedMatrix:
        return Quantized.of(dense, 16).sparse()


class TestDenseLayout(StochasticMatrixAlgebra):
    def make(self, dense: Tensor) -> CompressedMatrix:
        quantized = Quantized.of(dense, 255)
        codes = ((quantized.codes + 1) * quantized.stored).to(torch.uint8)
        codebook = torch.cat([torch.zeros(1), quantized.codebook])
        return CompressedMatrix.from_codes(codes, quantized.scale, quantized.background, codebook)


@settings(deadline=None, max_examples=50)
@given(hidden_states=st.integers(1, 9), size=st.integers(1, 9), density=st.floats(0, 1), seed=SEEDS)
def test_every_entry_is_scale_times_level_plus_background(
    hidden_states: int, size: int, density: float, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    dense = torch.rand(hidden_states, size, generator=rng) + 0.1
    dense[torch.rand(dense.shape, generator=rng) > density] = 0.1
    quantized = Quantized.of(dense / dense.sum(dim=1, keepdim=True), 7)
    matrix = quantized.sparse()
    for h, row in enumerate(matrix.to_dense().tolist()):
        for v, entry in enumerate(row):
            level = quantized.codebook[quantized.codes[h, v]] if quantized.stored[h, v] else 0.0
            assert entry == pytest.approx(float(quantized.scale[h] * level + quantized.background[h]), rel=1e-6)
    entries = matrix.row_entries()
    assert entries.columns.tolist() == quantized.stored.nonzero()[:, 1].tolist()
    assert entries.codes.tolist() == quantized.codes[quantized.stored].tolist()
    assert entries.indptr.diff().tolist() == quantized.stored.sum(dim=1).tolist()
    again = CompressedMatrix.from_rows(*entries, matrix.scale, matrix.background, matrix.codebook, matrix.shape)
    assert_close(again.to_dense(), matrix.to_dense(), 0.0)


@pytest.mark.parametrize("shape", [(3, 70_000), (70_000, 3)])
def test_sizes_beyond_16_bits(shape: tuple[int, int]) -> None:
    hidden_states, size = shape
    columns = torch.full((hidden_states,), size - 1)
    indptr, half = torch.arange(hidden_states + 1), torch.full((hidden_states,), 0.5)
    matrix = CompressedMatrix.from_rows(indptr, columns, columns * 0, half, half / size, torch.ones(1), shape)
    x = torch.zeros(2, hidden_states).index_fill_(1, torch.tensor([hidden_states - 1]), 1.0)
    assert_close(matrix.left(x)[:, -1], torch.full((2,), 0.5 + 0.5 / size))
    assert_close(matrix.right(torch.ones(2, size)), torch.ones(2, hidden_states))
    assert matrix.row_entries().columns.dtype == (torch.int32 if size > 65536 else torch.uint16)
    assert matrix.row_of_entry.dtype == (torch.int32 if hidden_states > 65536 else torch.uint16)


def test_memory_is_codes_and_indices() -> None:
    hidden_states, size, entries = 8, 1000, 24
    indptr = torch.arange(0, entries + 1, 3)
    columns = torch.arange(3).repeat(hidden_states)
    third = torch.full((hidden_states,), 1 / 3)
    matrix = CompressedMatrix.from_rows(
        indptr, columns, columns * 0, third, third * 0, torch.ones(1), (hidden_states, size)
    )
    assert matrix.layout == "sparse"
    assert matrix.nbytes == 3 * entries + 4 * (size + 1) + 2 * 4 * hidden_states + 4
    matrix.left(torch.ones(1, hidden_states))
    matrix.right(torch.ones(1, size))
    assert matrix.nbytes == 3 * entries + 4 * (size + 1) + 2 * 4 * hidden_states + 4
    codes = torch.zeros(hidden_states, size, dtype=torch.uint8)
    dense = CompressedMatrix.from_codes(codes, third * 0, third * 0 + 1 / size, torch.ones(1))
    assert dense.layout == "dense"
    assert dense.nbytes == hidden_states * size + 2 * 4 * hidden_states + 4
    with pytest.raises(ArgumentError, match="dense layout"):
        dense.row_entries()


GOOD: dict[str, Any] = {
    "indptr": torch.tensor([0, 2, 3]),
    "columns": torch.tensor([0, 2, 1]),
    "codes": torch.tensor([0, 1, 1]),
    "scale": torch.tensor([1.0, 0.25]),
    "background": torch.tensor([0.0, 0.125]),
    "codebook": torch.tensor([0.5, 0.5]),
    "shape": (2, 3),
}


def test_good_entries_are_taken() -> None:
    matrix = CompressedMatrix.from_rows(**{**GOOD, "scale": torch.tensor([1.0, 1.25])})
    assert_close(matrix.to_dense(), torch.tensor([[0.5, 0, 0.5], [0.125, 0.75, 0.125]]))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"indptr": torch.tensor([0, 2])}, "indptr"),
        ({"indptr": torch.tensor([0, 3, 2])}, "indptr"),
        ({"indptr": torch.tensor([1, 2, 3])}, "indptr"),
        ({"indptr": torch.tensor([0, 2, 4])}, "indptr ends at 4"),
        ({"columns": torch.tensor([0, 3, 1])}, "columns reach from 0 to 3"),
        ({"columns": torch.tensor([0, -1, 1])}, "columns"),
        ({"columns": torch.tensor([2, 0, 1])}, "strictly increasing"),
        ({"columns": torch.tensor([2, 2, 1])}, "strictly increasing"),
        ({"codes": torch.tensor([0, 1, 2])}, "codes reach"),
        ({"codes": torch.tensor([0, -1, 0])}, "codes reach"),
        ({"codes": torch.tensor([0, 1])}, "codes"),
        ({"scale": torch.ones(3)}, "scale has shape"),
        ({"background": torch.ones(2, 1)}, "background has shape"),
        ({"scale": torch.tensor([1.0, torch.nan])}, "scale holds a number that is not finite"),
        ({"codebook": torch.tensor([0.5, torch.inf])}, "codebook holds"),
        ({"codebook": torch.ones(257)}, "codebook has shape"),
        ({"codebook": torch.ones(0)}, "codebook has shape"),
        ({"background": torch.tensor([-0.1, 0.125])}, "background is"),
        ({"scale": torch.tensor([1.0, -1.0])}, "negative"),
        ({"shape": (0, 3)}, "at least one row"),
        ({}, "row 1 sums to 0.5"),
    ],
)
def test_bad_entries_are_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        CompressedMatrix.from_rows(**{**GOOD, **wrong})


def test_bad_codes_are_refused() -> None:
    codes, third = torch.zeros(2, 3, dtype=torch.uint8), torch.full((2,), 1 / 3)
    CompressedMatrix.from_codes(codes, third, third * 0, torch.ones(1))
    for arguments, complaint in (
        ((codes[0], third, third * 0, torch.ones(1)), "codes must be a matrix"),
        ((codes + 1, third, third * 0, torch.ones(1)), "codes reach"),
        ((codes, third[:1], third * 0, torch.ones(1)), "scale has shape"),
        ((codes, third * 2, third * 0, torch.ones(1)), "row 0 sums to 2"),
        ((codes, -third, third * 0 + 2 / 3, torch.ones(1) * 1.5), "negative|sums"),
    ):
        with pytest.raises(ArgumentError, match=complaint):
            CompressedMatrix.from_codes(*arguments)
