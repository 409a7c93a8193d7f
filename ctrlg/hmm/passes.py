"""The forward and the backward pass over a batch of sequences, step after step, in buffers that are used again.

Tensors are time-major, [T, B, H], so that a step is one contiguous block and all steps together are the rows of one
large product. Rabiner (1989), "A tutorial on hidden Markov models", sec. V.A, with his scale `c_t`: here it is
`p(x_t | x_1..x_{t-1})`, by which both passes divide.

    filtered_t = (filtered_{t-1} @ transition) * emitted_t / c_t
    future_{t-1} = transition @ arriving_t,    arriving_t = emitted_t * future_t / c_t
    posterior_t = filtered_t * future_t

Products run in the dtype of the transition matrix where it is dense, everything else in that of `initial`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.matrices import DenseMatrix, StochasticMatrix
from ctrlg.matrices.base import MISSING

LARGEST_RATIO = 1e30  # likelihood ratios are cut here: times a probability that underflowed they give 0, never NaN


class Emitted(NamedTuple):
    """Emission probabilities of the tokens of a batch, gathered once for each distinct token.

    tokens: the distinct ids, ascending, -1 (missing) among them, [U]. table: p(tokens[u] | z), ones for -1, [U, H].
    row: which row of the table each token is, [T, B].
    """

    tokens: Tensor
    table: Tensor
    row: Tensor


class Forward(NamedTuple):
    """filtered: p(z_t | x_1..x_t), [T, B, H]. probability: p(x_t | x_1..x_{t-1}), [T, B]; 0 after the impossible."""

    filtered: Tensor
    probability: Tensor


class Step(NamedTuple):
    """What the backward pass finds at time `t`; both tensors are overwritten by the step that follows.

    posterior: p(z_t | x_1..x_T), [B, H]; 0 for sequences the model cannot emit.
    """

    t: int
    posterior: Tensor


def gather_emitted(emission: StochasticMatrix, tokens: Tensor, dtype: torch.dtype) -> Emitted:
    """Emission probabilities of int64 [B, T], ids in [0, V) or -1, as `dtype`."""
    distinct, row = torch.unique(tokens.T, return_inverse=True)
    return Emitted(distinct, _columns(emission, distinct, dtype), row)


def read_forward(transition: StochasticMatrix, emitted: Emitted, initial: Tensor, filtered: Tensor) -> Forward:
    """All filtered states, into `filtered` [T, B, H] in the dtype of the products. initial: [H]."""
    length, batch = emitted.row.shape
    probability = initial.new_empty(length, batch)
    joint, predictive = (initial.new_empty(batch, len(initial)) for _ in range(2))
    moved = torch.empty_like(predictive, dtype=filtered.dtype)
    for t in range(length):
        if t == 0:
            predictive.copy_(initial.expand(batch, -1))
        torch.index_select(emitted.table, 0, emitted.row[t], out=joint)
        joint.mul_(predictive if t == 0 else move_left(transition, filtered[t - 1], moved))
        absorb(joint, probability[t], filtered[t])
    return Forward(filtered, probability)


def read_backward(
    transition: StochasticMatrix, emitted: Emitted, forward: Forward, arriving: Tensor | None = None
) -> Iterator[Step]:
    """Posteriors from the last time to the first.

    arriving: [T, B, H] in the dtype of the products; filled, but for time 0, with emitted_t * future_t / c_t. It counts
    the moves: p(z_{t-1} = i, z_t = j | x) = filtered_{t-1}[i] * transition[i, j] * arriving_t[j]. None keeps one time.
    """
    length, batch = forward.probability.shape
    dtype = emitted.table.dtype
    scale = nonzero(forward.probability)
    possible = (forward.probability > 0).all(0)
    posterior, ratio = (emitted.table.new_empty(batch, emitted.table.shape[1]) for _ in range(2))
    future = torch.empty_like(posterior, dtype=forward.filtered.dtype).copy_(possible[:, None].expand_as(posterior))
    kept = torch.empty_like(future) if arriving is None else arriving
    for t in range(length - 1, -1, -1):
        torch.mul(forward.filtered[t].to(dtype), future, out=posterior)
        yield Step(t, posterior)
        if t == 0:
            return
        torch.index_select(emitted.table, 0, emitted.row[t], out=ratio)
        into = kept if arriving is None else kept[t]
        torch.div(ratio.mul_(future), scale[t][:, None], out=into).clamp_(max=LARGEST_RATIO)
        move_right(transition, into, future)


def absorb(joint: Tensor, probability: Tensor, filtered: Tensor) -> None:
    """Condition on a token: p(z_t, x_t | past) [B, H] gives p(x_t | past) [B] and p(z_t | past, x_t) [B, H]."""
    torch.sum(joint, 1, out=probability)
    torch.div(joint, nonzero(probability)[:, None], out=filtered)


def move_left(transition: StochasticMatrix, x: Tensor, out: Tensor) -> Tensor:
    """`x @ transition` [B, H] into `out`."""
    if isinstance(transition, DenseMatrix) and transition.probabilities.dtype == x.dtype:
        return torch.mm(x, transition.probabilities, out=out)
    return out.copy_(transition.left(x))


def move_right(transition: StochasticMatrix, y: Tensor, out: Tensor) -> Tensor:
    """`y @ transition.T` [B, H] into `out`."""
    if isinstance(transition, DenseMatrix) and transition.probabilities.dtype == y.dtype:
        return torch.mm(y, transition.probabilities.T, out=out)
    return out.copy_(transition.right(y))


def product_dtype(transition: StochasticMatrix, initial: Tensor) -> torch.dtype:
    """What states are multiplied in: the dtype of a dense transition matrix, else that of `initial`."""
    return transition.probabilities.dtype if isinstance(transition, DenseMatrix) else initial.dtype


def nonzero(x: Tensor) -> Tensor:
    """x, where it is positive; else 1."""
    return torch.where(x > 0, x, 1.0)


def _columns(matrix: StochasticMatrix, ids: Tensor, dtype: torch.dtype) -> Tensor:
    """`matrix.columns(ids)` in full precision, and fast where a dense matrix is held column after column (EM does)."""
    if not isinstance(matrix, DenseMatrix):
        return matrix.columns(ids).to(dtype)
    picked = matrix.probabilities.T.index_select(0, ids.clamp(min=0)).to(dtype)
    return picked.masked_fill_((ids == MISSING)[:, None], 1.0)
