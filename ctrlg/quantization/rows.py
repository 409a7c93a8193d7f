"""What quantisers share: checks of the rows and the bits they are given, and how they normalise rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ctrlg.arguments import refused, whole
from ctrlg.errors import ArgumentError
from ctrlg.hmm.model import ROW_SUM_TOLERANCE


def check_rows(p: Tensor) -> None:
    """Raise ArgumentError unless `p` is a float matrix [H, N] whose rows are non-negative and sum to 1.

    The message names the first wrong row and its sum. The tolerance is the one with which an HMM is accepted.
    """
    _check_matrix(p)
    sums = p.sum(1, dtype=torch.float64)
    wrong = ~((sums - 1).abs() <= ROW_SUM_TOLERANCE) | (p.amin(1) < 0)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        what = "has a negative entry and sums" if float(p[row].amin()) < 0 else "sums"
        raise ArgumentError(f"row {row} {what} to {float(sums[row]):.6g}", hint="rows are probabilities that sum to 1")


def check_entries(p: Tensor) -> None:
    """Raise ArgumentError unless `p` is a float matrix [H, N] of finite numbers >= 0, whatever its rows sum to."""
    _check_matrix(p)
    least, largest = (float(bound) for bound in p.aminmax())
    if not 0 <= least <= largest < math.inf:
        raise ArgumentError(
            f"entries reach from {least:.6g} to {largest:.6g}", hint="give numbers of 0 or more, no logs"
        )


def check_bits(bits: int, most: int) -> None:
    """Raise ArgumentError unless `bits` is a whole number from 1 to `most`."""
    wanted = f"a whole number from 1 to {most}"
    try:
        number = whole("bits", bits)
    except ArgumentError as error:
        raise refused("bits", bits, wanted) from error
    if not 1 <= number <= most:
        raise refused("bits", bits, wanted)


def normalise_rows_(q: Tensor, constant: float) -> Tensor:
    """`q + constant`, each row divided by its sum; a row that sums to 0 becomes uniform.

    q: float [H, N], >= 0, overwritten; the result need not be `q`. constant: >= 0.
    """
    q = q.add_(constant)
    total = q.sum(1, keepdim=True, dtype=torch.float64)
    return torch.where(total > 0, q / torch.where(total > 0, total, 1).to(q.dtype), 1 / q.shape[1])


def _check_matrix(p: Tensor) -> None:
    if not isinstance(p, Tensor):
        raise refused("p", p, "a Tensor of probabilities, [states, size]")
    if p.dim() != 2 or not p.numel() or p.dtype not in (torch.float32, torch.float64):
        raise ArgumentError(
            f"cannot quantise a tensor of shape {tuple(p.shape)} and type {p.dtype}",
            hint="give probabilities, float32 or float64, of shape [states, size]",
        )
