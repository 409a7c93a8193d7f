"""Ctrl-G's matrix products of which an operand, or both, are logarithms, and its sums over edges.

An operand in logarithms is shifted by its largest entry along the axis that is summed over, exponentiated, multiplied,
and the shift is added to the logarithm of the product. A line that is -inf throughout gives -inf.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor, Tensor], Tensor]

NEGINF = -1e30  # Ctrl-G's logarithm of 0


def logsumexp(A: Tensor, dim: int) -> Tensor:
    """`torch.logsumexp`."""
    return torch.logsumexp(A, dim)


def matmul_log(A: Tensor, B: Tensor) -> Tensor:
    """log(exp(A) @ exp(B)).

    Args:
        A: logarithms [..., m, k].
        B: logarithms [..., k, n].

    Returns:
        Logarithms [..., m, n].
    """
    return log_product(A, B, torch.matmul, log_a=True, log_b=True)


def matmul_loga_b(A: Tensor, B: Tensor) -> Tensor:
    """log(exp(A) @ B).

    Args:
        A: logarithms [..., m, k].
        B: numbers [..., k, n].

    Returns:
        Logarithms [..., m, n].
    """
    return log_product(A, B, torch.matmul, log_a=True, log_b=False)


def matmul_a_logb(A: Tensor, B: Tensor) -> Tensor:
    """log(A @ exp(B)).

    Args:
        A: numbers [..., m, k].
        B: logarithms [..., k, n].

    Returns:
        Logarithms [..., m, n].
    """
    return log_product(A, B, torch.matmul, log_a=False, log_b=True)


def log_product(A: Tensor, B: Tensor, product: Product, *, log_a: bool, log_b: bool) -> Tensor:
    """The logarithm of `product(A, B)`. log_a, log_b: whether an operand is given in logarithms."""
    shift = None
    if log_a:
        A, shift = _exponentiated(A, dim=-1)
    if log_b:
        B, shift_b = _exponentiated(B, dim=-2)
        shift = shift_b if shift is None else shift + shift_b
    logarithm = product(A, B).log_()
    return logarithm if shift is None else logarithm.add_(shift)


def distribute_state_weights(E2D: Tensor, y: Tensor) -> Tensor:
    """The row of the state that each edge enters.

    Args:
        E2D: that state, int64 [E].
        y: [S, H].

    Returns:
        [E, H].
    """
    return y[E2D]


def aggregate_edge_weights(E2S: Tensor, y: Tensor, num_states: int) -> Tensor:
    """Log-sum-exp over the edges that leave each state; -inf without edges.

    Args:
        E2S: the state each edge leaves, int64 [E].
        y: [E, H].
        num_states: S.

    Returns:
        [S, H].
    """
    index = E2S[:, None].expand_as(y)
    largest = y.new_full((num_states, y.shape[1]), NEGINF).scatter_reduce(0, index, y, "amax")
    sums = torch.zeros_like(largest).index_add_(0, E2S, (y - largest[E2S]).exp_())
    return sums.log_().add_(largest)


def _exponentiated(logarithms: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """exp(logarithms - shift), and the shift: the largest of each line along `dim`, finite."""
    shift = logarithms.amax(dim, keepdim=True).clamp_(min=torch.finfo(logarithms.dtype).min)
    return (logarithms - shift).exp_(), shift
