"""Linear grids for probabilities other than Norm-Q's own, and what becomes of the rows that rounding leaves.

Norm-Q (arXiv 2509.25439) rounds to a grid on [0, 1] and normalises every row. Here are the same grid left as it is
(`unnormalised`) or with columns normalised instead (`column_normalised`), and grids that reach to the largest entry
of the matrix (`norm_q_max`, what the published code does) or of the row (`row_max`), normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization.norm_q import EPS, check_eps
from ctrlg.quantization.rows import check_bits, check_entries, check_rows, normalise_rows_

PSEUDOCOUNT = 0.001  # of norm-q-max, spread over a row
MOST_BITS = 16


def on_unit_grid(values: Tensor, bits: int) -> Tensor:
    """Every value as the nearest of `c / (2^bits - 1)`, c = 0 .. 2^bits - 1; those outside [0, 1] become 0 or 1.

    values: floats of any shape. bits: 1 to 16, not checked here. Twice is the same as once.
    """
    top = 2**bits - 1
    return (values * top).round_().clamp_(0, top).div_(top)


def unnormalised(p: Tensor, bits: int) -> Tensor:
    """Every entry of `p` on a linear grid on [0, 1], and nothing else: Norm-Q without its normalisation.

    p: float32 or float64 [H, N], entries >= 0; rows that sum to 1 come back with any sum from 0 to 2. bits: 1 to 16.
    Levels are `c / (2^bits - 1)` where Norm-Q's are `c / 2^bits`: normalising takes the factor away there, here it
    would cost every path of the HMM `(1 - 2^-bits)^2` a token, which is another fault than the one to be shown.
    Raises ArgumentError for entries that are negative or not finite, and bits out of range.
    """
    check_bits(bits, MOST_BITS)
    check_entries(p)
    return on_unit_grid(p, bits)


def column_normalised(p: Tensor, bits: int, eps: float = EPS) -> Tensor:
    """`unnormalised`, then `(q + eps) / sum(q + eps)` over every column: columns sum to 1, rows to anything.

    eps: 0 to below 1; with it a column that rounds to nothing becomes uniform, without it stays nothing. Other
    arguments and errors as for `unnormalised`.
    """
    check_eps(eps)
    q = unnormalised(p, bits).add_(eps)
    total = q.sum(0, dtype=torch.float64)
    return q.div_(torch.where(total > 0, total, 1).to(q.dtype))


def norm_q_max(p: Tensor, bits: int, pseudocount: float = PSEUDOCOUNT) -> Tensor:
    """Every row of `p` on a linear grid from 0 to the matrix' largest entry, normalised; same shape and type.

    p: float32 or float64 [H, N], rows sum to 1. bits: 1 to 16; the grid has 2^bits - 1 steps. pseudocount: >= 0, spread
    over a row before it is normalised. Raises ArgumentError for rows that are no distributions and bits or pseudocount
    out of range. (The published code writes the number of steps as `2 ^ bits - 1`, which Python reads as `2 XOR (bits -
    1)`: 5 steps at 8 bits, 1 at 4, none at 3.)
    """
    if not pseudocount >= 0:
        raise ArgumentError(f"pseudocount is {pseudocount}", hint="0 or more; the published code takes 0.001")
    return normalise_rows_(on_matrix_grid(p, bits), pseudocount / p.shape[1])


def on_matrix_grid(p: Tensor, bits: int) -> Tensor:
    """Every entry of `p` on a linear grid of 2^bits - 1 steps from 0 to its largest entry; arguments and errors as for
    `norm_q_max`."""
    check_bits(bits, MOST_BITS)
    check_rows(p)
    step = p.amax() / (2**bits - 1)
    return (p / step).round_().mul_(step)


def row_max(p: Tensor, bits: int, eps: float = EPS) -> Tensor:
    """Every row of `p` on a linear grid from 0 to its own largest entry, normalised; same shape and type.

    p: float32 or float64 [H, N], rows sum to 1. bits: 1 to 16. eps: 0 to below 1, added to every entry. No row rounds
    to nothing. Raises ArgumentError for rows that are no distributions and bits or eps out of range.
    """
    check_bits(bits, MOST_BITS)
    check_eps(eps)
    check_rows(p)
    return normalise_rows_(on_unit_grid(p / p.amax(1, keepdim=True), bits), eps)
