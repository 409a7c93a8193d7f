"""A row-stochastic matrix held as codes: `M[h, v] = scale[h] * codebook[code[h, v]] + background[h]`.

Two layouts. *Sparse*: only some entries are stored, the others equal `background[h]`; entries are held column
after column (row index and code, 3 bytes each while H <= 65536), the order in which scores, token marginals and
emitted tokens are read. *Dense*: a code for every entry, uint8 [H, N]. Neither ever builds the float matrix.
"""

from __future__ import annotations

from functools import cached_property
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.arguments import checked
from ctrlg.devices import without_autocast
from ctrlg.errors import ArgumentError
from ctrlg.kernels import cpu_kernels, gpu_kernels, reference
from ctrlg.kernels.entries import EntryLists, entry_lists
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.kernels.token_classes import TokenClasses
from ctrlg.matrices.base import StochasticMatrix

SMALL_INDEX = 65536
"""Up to so many values an index is stored as uint16, beyond as int32."""

MAX_LEVELS = 256
"""Codes are at most 8 bits."""

ROW_SUM_TOLERANCE = 1e-3
"""How far the sum of a row may be from 1 before the codes are refused."""


class RowEntries(NamedTuple):
    """Stored entries row after row, as they are written to disk.

    Attributes:
        indptr: int64 [H + 1]; entries of row h are indptr[h] .. indptr[h + 1] - 1.
        columns: uint16 (N <= 65536) or int32 [entries], strictly increasing within a row.
        codes: uint8 [entries].
    """

    indptr: Tensor
    columns: Tensor
    codes: Tensor


class CompressedMatrix(StochasticMatrix):
    """Codes, one scale and one background per row, one codebook. Build it with `from_rows` or `from_codes`.

    `M[h, v] = scale[h] * codebook[code[h, v]] + background[h]`; `layout` is "sparse" or "dense".

    Args:
        codes: uint8, [entries] in column order (sparse) or [H, N] (dense).
        column_starts: int32 or int64 [N + 1]; empty in the dense layout.
        row_of_entry: uint16 (H <= 65536) or int32 [entries]; empty in the dense layout.
        scale: float32 [H].
        background: float32 [H].
        codebook: float32 [L], L <= 256.
        shape: (H, N).
    """

    def __init__(
        self,
        codes: Tensor,
        column_starts: Tensor,
        row_of_entry: Tensor,
        scale: Tensor,
        background: Tensor,
        codebook: Tensor,
        shape: tuple[int, int],
    ) -> None:
        self.codes = codes
        self.column_starts = column_starts
        self.row_of_entry = row_of_entry
        self.scale = scale
        self.background = background
        self.codebook = codebook
        self._shape = shape

    @classmethod
    @checked
    def from_rows(
        cls,
        indptr: Tensor,
        columns: Tensor,
        codes: Tensor,
        scale: Tensor,
        background: Tensor,
        codebook: Tensor,
        shape: tuple[int, int],
        normalised: bool = True,
    ) -> CompressedMatrix:
        """The sparse layout from entries in row order (see `RowEntries`), integers of any width.

        Args:
            indptr: [H + 1].
            columns: [entries].
            codes: [entries].
            scale: [H].
            background: [H], >= 0.
            codebook: [L], 1 <= L <= 256.
            shape: (H, N).
            normalised: whether rows must sum to 1: no operation needs it, and some methods that Norm-Q is compared with
                lose it.

        Raises:
            ArgumentError: sizes do not fit, a column or code is out of range, columns of a row are not strictly
                increasing, a number is not finite, an entry is negative, or a row that must sum to 1 does not within
                0.001.
        """
        hidden_states, size = shape
        scale, background, codebook = _levels(scale, background, codebook, shape)
        indptr, columns = indptr.long(), columns.to(torch.int64)
        if len(indptr) != hidden_states + 1 or int(indptr[0]) or bool((indptr.diff() < 0).any()):
            raise ArgumentError(f"indptr must hold {hidden_states + 1} offsets that start at 0 and never fall")
        if not int(indptr[-1]) == len(columns) == len(codes):
            raise ArgumentError(
                f"indptr ends at {int(indptr[-1])}, there are {len(columns)} columns and {len(codes)} codes"
            )
        codes = _checked_codes(codes, codebook)
        rows = torch.repeat_interleave(torch.arange(hidden_states, device=indptr.device), indptr.diff())
        if len(columns) and not 0 <= int(columns.min()) <= int(columns.max()) < size:
            raise ArgumentError(f"columns reach from {int(columns.min())} to {int(columns.max())}, N is {size}")
        if bool(((rows * size + columns).diff() <= 0).any()):
            raise ArgumentError("columns of a row must be strictly increasing")
        stored = codebook.double()[codes.int()] * scale.double()[rows]
        if len(stored) and float((stored + background[rows]).min()) < -ROW_SUM_TOLERANCE / size:
            raise ArgumentError("scale * codebook + background is negative")
        if normalised:
            _check_row_sums(torch.zeros_like(scale.double()).index_add_(0, rows, stored) + background.double() * size)

        order = torch.argsort(columns, stable=True)
        starts = torch.zeros(size + 1, dtype=torch.int64, device=columns.device)
        starts[1:] = torch.bincount(columns, minlength=size).cumsum(0)
        return cls(
            codes[order],
            starts.to(torch.int32 if len(codes) < 2**31 else torch.int64),
            rows[order].to(_index_dtype(hidden_states)),
            scale,
            background,
            codebook,
            (hidden_states, size),
        )

    @classmethod
    @checked
    def from_codes(
        cls, codes: Tensor, scale: Tensor, background: Tensor, codebook: Tensor, normalised: bool = True
    ) -> CompressedMatrix:
        """The dense layout.

        Args:
            codes: uint8 [H, N], one for every entry.
            scale: [H].
            background: [H], >= 0.
            codebook: [L], 1 <= L <= 256.
            normalised: as for `from_rows`.

        Raises:
            ArgumentError: as `from_rows`.
        """
        if codes.dim() != 2 or not codes.numel():
            raise ArgumentError(f"codes must be a matrix [H, N], got shape {list(codes.shape)}")
        hidden_states, size = codes.shape
        scale, background, codebook = _levels(scale, background, codebook, (hidden_states, size))
        codes = _checked_codes(codes, codebook).contiguous()
        counts = torch.stack([torch.bincount(row, minlength=len(codebook)) for row in codes])
        values = scale.double()[:, None] * codebook.double() + background.double()[:, None]
        if bool(((values < -ROW_SUM_TOLERANCE / size) & (counts > 0)).any()):
            raise ArgumentError("scale * codebook + background is negative")
        if normalised:
            _check_row_sums((counts * values).sum(1))
        nothing = codes.new_empty(0)
        return cls(codes, nothing.int(), nothing.int(), scale, background, codebook, (hidden_states, size))

    @property
    def layout(self) -> str:
        return "dense" if self.codes.dim() == 2 else "sparse"

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def nbytes(self) -> int:
        indices = (self.column_starts, self.row_of_entry)
        levels = (self.scale, self.background, self.codebook)
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.codes, *indices, *levels))

    @property
    def device(self) -> torch.device:
        return self.codes.device

    def to(self, device: torch.device | str) -> CompressedMatrix:
        return CompressedMatrix(
            self.codes.to(device),
            self.column_starts.to(device),
            self.row_of_entry.to(device),
            self.scale.to(device),
            self.background.to(device),
            self.codebook.to(device),
            self._shape,
        )

    def row_entries(self) -> RowEntries:
        """Stored entries in row order, what `from_rows` takes.

        Raises:
            ArgumentError: the layout is dense.
        """
        self._require_lists()
        hidden_states, size = self._shape
        rows = self.row_of_entry.to(torch.int64)
        order = torch.argsort(rows, stable=True)
        indptr = torch.zeros(hidden_states + 1, dtype=torch.int64, device=self.device)
        indptr[1:] = torch.bincount(rows, minlength=hidden_states).cumsum(0)
        columns = torch.repeat_interleave(torch.arange(size, device=self.device), self.column_starts.long().diff())
        return RowEntries(indptr, columns[order].to(_index_dtype(size)), self.codes[order])

    @without_autocast()
    def left(self, x: Tensor) -> Tensor:
        self._require("x", x, (None, self._shape[0]))
        kernels = self._kernels(x)
        return kernels.left(self, x) if kernels else super().left(x)

    @without_autocast()
    def right(self, y: Tensor) -> Tensor:
        self._require("y", y, (None, self._shape[1]))
        kernels = self._kernels(y)
        return kernels.right(self, y) if kernels else super().right(y)

    def trusted_columns(self, ids: Tensor) -> Tensor:
        if self.layout == "dense":
            levels = self.codebook[self.codes[:, ids.clamp(min=0)].int()]
            return reference.ones_where_missing((self.scale[:, None] * levels + self.background[:, None]).T, ids)
        kernels = self._kernels(ids)
        return kernels.columns(self, ids) if kernels else super().trusted_columns(ids)

    @without_autocast()
    def class_sums(self, class_of: Tensor, num_classes: int) -> Tensor:
        self._require_classes(class_of, num_classes)
        kernels = self._kernels(class_of)
        if kernels:
            return kernels.class_sums(self, class_of, num_classes)
        return super().class_sums(class_of, num_classes)

    @without_autocast()
    def scores(self, step: ScoringStep) -> Tensor:
        kernels = self._kernels(*step)
        if kernels is None:
            return super().scores(step)
        self._require_scores(step)
        return kernels.scores(self, step)

    @without_autocast()
    def add_scores(
        self,
        log_probs: Tensor,
        step: ScoringStep,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        kernels = self._kernels(*step)
        if kernels is None or (out is not None and not out.is_contiguous()):
            return super().add_scores(log_probs, step, out)
        self._require_add_scores(log_probs, step, out)
        joined = step.predictive.new_empty(log_probs.shape) if out is None else out
        return joined, kernels.add_scores(self, log_probs.float(), step, joined)

    @property
    def pairs_in_one_pass(self) -> bool:
        return self.layout == "sparse" and gpu_kernels(self.codes)

    def add_paired_scores(
        self, logits: Tensor, predictive: Tensor, rows: Tensor, row_of: Tensor, offset: Tensor, classes: TokenClasses
    ) -> tuple[Tensor, Tensor]:
        if not self.pairs_in_one_pass:
            return super().add_paired_scores(logits, predictive, rows, row_of, offset, classes)
        from ctrlg.kernels.gpu import compressed

        return compressed.add_paired_scores(self, logits, predictive, rows, row_of, offset, classes.class_of)

    @property
    def by_column(self) -> EntryLists:
        """The stored entries by column, for kernels on a GPU. ArgumentError for the dense layout."""
        return self._column_lists

    @property
    def by_row(self) -> EntryLists:
        """The stored entries by row, a second copy of them. ArgumentError for the dense layout."""
        return self._row_lists

    @cached_property
    def _column_lists(self) -> EntryLists:
        self._require_lists()
        return entry_lists(self.column_starts, self.row_of_entry, self.codes)

    @cached_property
    def _row_lists(self) -> EntryLists:
        entries = self.row_entries()
        return entry_lists(entries.indptr.to(self.column_starts.dtype), entries.columns, entries.codes)

    def _kernels(self, *inputs: Tensor) -> ModuleType | None:
        """The kernels of the sparse layout where they apply, numba's or Triton's."""
        if self.layout == "dense":
            return None
        if gpu_kernels(self.codes, *inputs):
            from ctrlg.kernels.gpu import compressed

            return compressed
        return cpu_kernels(self.codes, *inputs)

    def _require_lists(self) -> None:
        if self.layout == "dense":
            raise ArgumentError("the dense layout has no list of entries", hint="use .codes, uint8 [H, N]")

    def column_block(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        scale, background = self.scale.to(dtype)[:, None], self.background.to(dtype)[:, None]
        codebook = self.codebook.to(dtype)
        if self.layout == "dense":
            kernels = cpu_kernels(self.codes) if dtype == torch.float32 else None
            if kernels:
                return kernels.decode(self.codes, self.codebook, self.scale, self.background, start, stop)
            return scale * codebook[self.codes[:, start:stop].int()] + background
        first, last = int(self.column_starts[start]), int(self.column_starts[stop])
        rows = self.row_of_entry[first:last].to(torch.int64)
        counts = self.column_starts[start : stop + 1].long().diff()
        columns = torch.repeat_interleave(torch.arange(stop - start, device=self.device), counts)
        block = torch.zeros(self._shape[0], stop - start, dtype=dtype, device=self.device)
        block[rows, columns] = codebook[self.codes[first:last].int()]
        return scale * block + background


def _levels(
    scale: Tensor, background: Tensor, codebook: Tensor, shape: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    hidden_states, size = shape
    if hidden_states < 1 or size < 1:
        raise ArgumentError(f"a matrix needs at least one row and one column, got shape {list(shape)}")
    for name, tensor in (("scale", scale), ("background", background)):
        if tuple(tensor.shape) != (hidden_states,):
            raise ArgumentError(f"{name} has shape {list(tensor.shape)}, expected [{hidden_states}]")
    if codebook.dim() != 1 or not 1 <= len(codebook) <= MAX_LEVELS:
        raise ArgumentError(f"codebook has shape {list(codebook.shape)}, expected [L] with 1 <= L <= {MAX_LEVELS}")
    for name, tensor in (("scale", scale), ("background", background), ("codebook", codebook)):
        if not bool(torch.isfinite(tensor).all()):
            raise ArgumentError(f"{name} holds a number that is not finite")
    if float(background.min()) < 0:
        raise ArgumentError(f"background is {float(background.min())}, it must not be negative")
    return scale.float().contiguous(), background.float().contiguous(), codebook.float().contiguous()


def _checked_codes(codes: Tensor, codebook: Tensor) -> Tensor:
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < len(codebook):
        raise ArgumentError(
            f"codes reach from {int(codes.min())} to {int(codes.max())}, the codebook has {len(codebook)}"
        )
    return codes.to(torch.uint8)


def _check_row_sums(sums: Tensor) -> None:
    worst = int((sums - 1).abs().argmax())
    if abs(float(sums[worst]) - 1) > ROW_SUM_TOLERANCE:
        raise ArgumentError(
            f"row {worst} sums to {float(sums[worst]):.6g}, expected 1",
            hint="scale and background must normalise every row",
        )


def _index_dtype(size: int) -> torch.dtype:
    return torch.uint16 if size <= SMALL_INDEX else torch.int32
