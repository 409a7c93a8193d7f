"""Methods with few levels in the whole matrix as codes, so that they run compressed like Norm-Q itself.

Such a method rounds every entry to one of 2^b levels; some then add a constant and normalise the rows, which moves the
levels by one scale and one background for each row: `M[h, v] = scale[h] * codebook[code[h, v]] + background[h]`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.matrices import QuantizedRows

MOST_CODE_BITS = 8  # codes are bytes
_BLOCK_ROWS = 64  # at a time, to bound the temporary memory


class Levelled(NamedTuple):
    """A matrix of few levels.

    Attributes:
        entries: [H, N], at most 256 distinct values >= 0.
        constant: > 0, added before rows are normalised; None where they are left as they are.
    """

    entries: Tensor
    constant: float | None


def rows_of_levels(levelled: Levelled, bits: int) -> QuantizedRows:
    """The rows as codes of at most `bits` bits, 1 to 8. The lowest level is code 0, that of entries not stored.

    Args:
        levelled: the matrix.
        bits: of a code, 1 to 8.
    """
    blocks = levelled.entries.split(_BLOCK_ROWS)
    levels = torch.cat([block.unique() for block in blocks]).unique()
    codes = torch.cat([torch.searchsorted(levels, block.contiguous()).to(torch.uint8) for block in blocks])
    codebook = levels.new_full((2**bits,), float(levels[-1] - levels[0]))
    codebook[: len(levels)] = levels - levels[0]
    states, size = levelled.entries.shape
    scale = torch.ones(states, dtype=torch.float64, device=levels.device)
    lowest = levels[0].double()
    if levelled.constant is not None:
        lowest = lowest + levelled.constant
        scale = 1 / (levelled.entries.sum(1, dtype=torch.float64) + size * levelled.constant)
    return QuantizedRows(codes, codebook.float(), scale.float(), (lowest * scale).float())
