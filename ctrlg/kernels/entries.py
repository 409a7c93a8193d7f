"""The stored entries of a compressed matrix as lists, cut so that all programs of a kernel have about as much to do.

A column of a common token has a thousand entries, one of a rare token none. The first `HEAD` entries of every list are
read where its sum is written; what lies beyond is cut into *pieces* of at most `PIECE` entries, whose sums are computed
before.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

HEAD = 32
"""Entries of a list that are read together with those of its neighbors."""

PIECE = 128
"""Most entries of a piece."""


class EntryLists(NamedTuple):
    """n lists of entries: of the columns of a matrix, or of its rows.

    Attributes:
        starts: int32 or int64 [n + 1]; the entries of list i are starts[i] .. starts[i + 1] - 1.
        indices: uint16 or int32 [entries]; the row of an entry in lists of columns, the column in lists of rows.
        codes: uint8 [entries].
        first_piece: int32 [n + 1]; the pieces of list i are first_piece[i] .. first_piece[i + 1] - 1.
        piece_list: int32 [P]; the list of a piece.
        piece_begin: as starts, [P]; its first entry.
        longest: most entries of a list.
    """

    starts: Tensor
    indices: Tensor
    codes: Tensor
    first_piece: Tensor
    piece_list: Tensor
    piece_begin: Tensor
    longest: int

    @property
    def number(self) -> int:
        """n."""
        return len(self.starts) - 1


def entry_lists(starts: Tensor, indices: Tensor, codes: Tensor) -> EntryLists:
    """The lists with their pieces, on the device of `codes`; waits for the device, once for a matrix."""
    counts = starts.long().diff()
    # ceil((count - HEAD) / PIECE), none for a list that its head holds.
    pieces = (counts - HEAD).clamp(min=0).add(PIECE - 1).div(PIECE, rounding_mode="floor")
    first = torch.zeros_like(starts, dtype=torch.int64)
    first[1:] = pieces.cumsum(0)
    # From lists to pieces and back: the list of every piece, then how many pieces of that list come before it.
    of_piece = torch.repeat_interleave(torch.arange(len(counts), device=starts.device), pieces)
    before = torch.arange(len(of_piece), device=starts.device) - first[of_piece]
    # In int64 until all is added up: a piece may begin beyond 2^31.
    begin = starts.long()[of_piece] + HEAD + PIECE * before
    longest = int(counts.max()) if len(counts) else 0
    # begin has the type of starts again: the kernels compare the two.
    return EntryLists(starts, indices, codes, first.int(), of_piece.int(), begin.to(starts.dtype), longest)
