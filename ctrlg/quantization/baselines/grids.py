"""Linear grids for probabilities other than Norm-Q's own, and what becomes of the rows that rounding leaves.

Norm-Q (arXiv 2509.25439) rounds to a grid on [0, 1] and normalises every row. Here are the same grid left as it is
(`unnormalised`) or with columns normalised instead (`column_normalised`), and grids that reach to the largest entry
of the matrix (`norm_q_max`, what the published code does; `matrix_max`, with a smaller background) or of the row
(`row_max`), normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization.norm_q import EPS, check_eps
from ctrlg.quantization.rows import check_bits, check_entries, check_rows, normalise_rows_

PSEUDOCOUNT = 0.001  # of norm-q-max and matrix-max, spread over a row
MOST_BITS = 16


def on_unit_grid(values: Tensor, bits: int) -> Tensor:
    """Every value as the nearest of `c / (2^bits - 1)`, c = 0 .. 2^bits - 1; those outside [0, 1] become 0 or 1.
    Idempotent.

    Args:
        values: floats of any shape.
        bits: 1 to 16, not checked here.
    """
    top = 2**bits - 1
    return (values * top).round_().clamp_(0, top).div_(top)


def unnormalised(p: Tensor, bits: int) -> Tensor:
    """Every entry of `p` on a linear grid on [0, 1], and nothing else: Norm-Q without its normalization.

    Levels are `c / (2^bits - 1)` where Norm-Q's are `c / 2^bits`: normalizing takes the factor away there, here it
    would cost every path of the HMM `(1 - 2^-bits)^2` a token, which is another fault than the one to be shown.

    Args:
        p: float32 or float64 [H, N], entries >= 0; rows that sum to 1 come back with any sum from 0 to 2.
        bits: 1 to 16.

    Returns:
        The same shape and type.

    Raises:
        ArgumentError: entries that are negative or not finite, and bits out of range.
    """
    check_bits(bits, MOST_BITS)
    check_entries(p)
    return on_unit_grid(p, bits)


def column_normalised(p: Tensor, bits: int, eps: float = EPS) -> Tensor:
    """`unnormalised`, then `(q + eps) / sum(q + eps)` over every column: columns sum to 1, rows to anything.

    Args:
        p: float32 or float64 [H, N], entries >= 0.
        bits: 1 to 16.
        eps: 0 to below 1; with it a column that rounds to nothing becomes uniform, without it stays nothing.


    Returns:
        The same shape and type.
    """
    check_eps(eps)
    q = unnormalised(p, bits).add_(eps)
    total = q.sum(0, dtype=torch.float64)
    return q.div_(torch.where(total > 0, total, 1).to(q.dtype))


def norm_q_max(p: Tensor, bits: int, pseudocount: float = PSEUDOCOUNT) -> Tensor:
    """The rule of Norm-Q's published code: integer levels up to the matrix' largest entry, rows normalized.

    `pseudocount / N` is added to each level before. (The published training writes the highest level as `2 ^ bits - 1`,
    which Python reads as `2 XOR (bits - 1)`: 5 at 8 bits, 1 at 4, 0 at 3. Its benchmark has it right, and so have we.)

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        bits: 1 to 16; levels are 0 to 2^bits - 1.
        pseudocount: >= 0, of a row of levels.

    Returns:
        The same shape and type.

    Raises:
        ArgumentError: rows that are no distributions, and bits or pseudocount out of range.
    """
    check_pseudocount(pseudocount)
    return normalise_rows_(matrix_levels(p, bits), pseudocount / p.shape[1])


def matrix_max(p: Tensor, bits: int, pseudocount: float = PSEUDOCOUNT) -> Tensor:
    """`norm_q_max` with the pseudocount added to probabilities instead of levels; arguments and errors as there.

    The background of a row is `(2^bits - 1) / max(p)` times smaller than that of `norm_q_max`.

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        bits: 1 to 16.
        pseudocount: >= 0, of a row.

    Returns:
        The same shape and type.
    """
    check_pseudocount(pseudocount)
    return normalise_rows_(on_matrix_grid(p, bits), pseudocount / p.shape[1])


def matrix_levels(p: Tensor, bits: int) -> Tensor:
    """Every entry of `p` as the nearest of 2^bits - 1 equal steps from 0 to its largest entry: whole numbers as floats.

    Arguments and errors as for `norm_q_max`.

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        bits: 1 to 16.
    """
    check_bits(bits, MOST_BITS)
    check_rows(p)
    top = 2**bits - 1
    return (p / (p.amax() / top)).round_().clamp_(0, top)


def on_matrix_grid(p: Tensor, bits: int) -> Tensor:
    """`matrix_levels` as probabilities.

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        bits: 1 to 16.
    """
    return matrix_levels(p, bits).mul_(p.amax() / (2**bits - 1))


def check_pseudocount(pseudocount: float) -> None:
    """Check a pseudocount.

    Args:
        pseudocount: 0 or more.

    Raises:
        ArgumentError: it is less, or NaN.
    """
    if not pseudocount >= 0:
        raise ArgumentError(f"pseudocount is {pseudocount}", hint="0 or more; the published code takes 0.001")


def row_max(p: Tensor, bits: int, eps: float = EPS) -> Tensor:
    """Every row of `p` on a linear grid from 0 to its own largest entry, normalised; same shape and type.

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        bits: 1 to 16.
        eps: 0 to below 1, added to every entry. No row rounds to nothing.

    Returns:
        The same shape and type.

    Raises:
        ArgumentError: rows that are no distributions and bits or eps out of range.
    """
    check_bits(bits, MOST_BITS)
    check_eps(eps)
    check_rows(p)
    return normalise_rows_(on_unit_grid(p / p.amax(1, keepdim=True), bits), eps)
