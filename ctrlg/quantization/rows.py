"""What quantisers share: checks of the rows and the bits they are given, and how they normalise rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ctrlg.arguments import refused, whole
from ctrlg.errors import ArgumentError
from ctrlg.hmm.model import ROW_SUM_TOLERANCE


def check_rows(p: Tensor) -> None:
    """Check that rows are distributions, with the tolerance with which an HMM is accepted.

    Args:
        p: float [H, N].

    Raises:
        ArgumentError: it is no matrix of floats, or a row has negative entries or does not sum to 1; the message
            names the first wrong row and its sum.
    """
    _check_matrix(p)
    sums = p.sum(1, dtype=torch.float64)
    wrong = ~((sums - 1).abs() <= ROW_SUM_TOLERANCE) | (p.amin(1) < 0)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        what = "has a negative entry and sums" if float(p[row].amin()) < 0 else "sums"
        raise ArgumentError(f"row {row} {what} to {float(sums[row]):.6g}", hint="rows are probabilities that sum to 1")


def check_entries(p: Tensor) -> None:
    """Check the entries of a matrix, whatever its rows sum to.

    Args:
        p: float [H, N].

    Raises:
        ArgumentError: it is no matrix of floats, or an entry is negative or not finite.
    """
    _check_matrix(p)
    least, largest = (float(bound) for bound in p.aminmax())
    if not 0 <= least <= largest < math.inf:
        raise ArgumentError(
            f"entries reach from {least:.6g} to {largest:.6g}", hint="give numbers of 0 or more, no logs"
        )


def check_bits(bits: int, most: int) -> None:
    """Check a number of bits.

    Args:
        bits: a whole number from 1.
        most: the largest that is allowed.

    Raises:
        ArgumentError: it is another.
    """
    wanted = f"a whole number from 1 to {most}"
    try:
        number = whole("bits", bits)
    except ArgumentError as error:
        raise refused("bits", bits, wanted) from error
    if not 1 <= number <= most:
        raise refused("bits", bits, wanted)


def normalise_rows_(q: Tensor, constant: float) -> Tensor:
    """`q + constant`, each row divided by its sum; a row that sums to 0 becomes uniform.

    Args:
        q: float [H, N], >= 0, overwritten; the result need not be `q`.
        constant: >= 0.
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
