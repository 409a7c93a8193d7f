"""What every quantiser asks of its input: rows that are distributions, and a number of bits."""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.hmm.model import ROW_SUM_TOLERANCE


def check_rows(p: Tensor) -> None:
    """Raise ArgumentError unless `p` is a float matrix [H, N] whose rows are non-negative and sum to 1.

    The message names the first wrong row and its sum. The tolerance is the one with which an HMM is accepted.
    """
    if p.dim() != 2 or not p.numel() or p.dtype not in (torch.float32, torch.float64):
        raise ArgumentError(
            f"cannot quantise a tensor of shape {tuple(p.shape)} and type {p.dtype}",
            hint="give probabilities, float32 or float64, of shape [states, size]",
        )
    sums = p.sum(1, dtype=torch.float64)
    wrong = ~((sums - 1).abs() <= ROW_SUM_TOLERANCE) | (p.amin(1) < 0)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        what = "has a negative entry and sums" if float(p[row].amin()) < 0 else "sums"
        raise ArgumentError(f"row {row} {what} to {float(sums[row]):.6g}", hint="rows are probabilities that sum to 1")


def check_bits(bits: int, most: int) -> None:
    """Raise ArgumentError unless `bits` is a whole number from 1 to `most`."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= most:
        raise ArgumentError(f"bits is {bits!r}", hint=f"a whole number from 1 to {most}")
