"""Norm-Q as published: codes on a fixed linear grid, then rows normalized with a small constant (arXiv 2509.25439).

`q = clip(round(p * (2^b - 1)), 0, 2^b - 1) / 2^b`, then `(q + eps) / sum(q + eps)` over the row. As a
compressed matrix: linear codebook `c / 2^b`, row scale `1 / Z` and row background `eps / Z` with `Z = sum(q +
eps)`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.arguments import checked
from ctrlg.errors import ArgumentError
from ctrlg.matrices import QuantizedRows
from ctrlg.quantization.rows import check_bits, check_rows, normalise_rows_

EPS = 1e-12
_BLOCK_ENTRIES = 1 << 24  # entries worked on at a time, to bound the temporary memory


@checked
def norm_q(p: Tensor, bits: int, eps: float = EPS) -> Tensor:
    """Norm-Q of every row of `p` (arXiv 2509.25439): quantized to `bits` bits, then normalized.

    A row that rounds to nothing becomes uniform.

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        bits: 1 to 16.
        eps: in [0, 1); keeps what rounds to nothing possible.

    Returns:
        Probabilities [H, N] of the type of `p`; rows sum to 1.

    Raises:
        ArgumentError: rows that are no distributions (it names the row and its sum), bits or eps out of range.
    """
    check_bits(bits, 16)
    check_eps(eps)
    check_rows(p)
    return normalise_rows_(_codes(p, bits).div_(2**bits), eps)


@checked
def norm_q_rows(p: Tensor, bits: int, eps: float = EPS) -> QuantizedRows:
    """`norm_q` as codes, scale and background.

    Args:
        p: float32 or float64 [H, N], rows sum to 1.
        bits: 1 to 8.
        eps: in [0, 1); keeps what rounds to nothing possible.

    Returns:
        Codes of the linear codebook c / 2^bits, scale 1 / Z and background eps / Z of each row.

    Raises:
        ArgumentError: as `norm_q`.
    """
    check_bits(bits, 8)
    check_eps(eps)
    check_rows(p)
    states, size = p.shape
    codes = torch.empty(states, size, dtype=torch.uint8, device=p.device)
    block = max(1, _BLOCK_ENTRIES // size)
    for start in range(0, states, block):
        codes[start : start + block] = _codes(p[start : start + block], bits).to(torch.uint8)
    normaliser = codes.sum(1, dtype=torch.float64) / 2**bits + size * eps
    empty = codes.amax(1) == 0
    return QuantizedRows(
        codes,
        torch.arange(2**bits, dtype=torch.float32, device=p.device) / 2**bits,
        torch.where(empty, 0, 1 / normaliser).float(),
        torch.where(empty, 1 / size, eps / normaliser).float(),
    )


def _codes(p: Tensor, bits: int) -> Tensor:
    top = 2**bits - 1
    return (p * top).round_().clamp_(0, top)


def check_eps(eps: float) -> None:
    """Check the constant of Norm-Q's normalization.

    Args:
        eps: 0 to below 1.

    Raises:
        ArgumentError: it is outside.
    """
    if not 0 <= eps < 1:
        raise ArgumentError(f"eps is {eps}", hint="a small non-negative number, as 1e-12")
