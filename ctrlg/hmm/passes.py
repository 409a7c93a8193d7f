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

import math
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


class Workspace:
    """Memory by name, used again from batch to batch: fresh pages cost about as much as the arithmetic on them."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor of this shape, with the device of `like` and its dtype unless given; its contents are arbitrary.

        It is overwritten through the next tensor that is taken by the same name.
        """
        size, dtype = math.prod(shape), dtype or like.dtype
        held = self._held.get(name)
        if held is None or held.numel() < size or held.dtype != dtype:
            held = self._held[name] = like.new_empty(size, dtype=dtype)
        return held[:size].view(shape)


def gather_emitted(emission: StochasticMatrix, tokens: Tensor, initial: Tensor, work: Workspace) -> Emitted:
    """Emission probabilities of int64 [B, T], ids in [0, V) or -1, in the dtype of `initial` [H]."""
    distinct, row = torch.unique(tokens.T, return_inverse=True)
    table = work.take("emitted", initial, len(distinct), len(initial))
    if isinstance(emission, DenseMatrix) and emission.probabilities.dtype == table.dtype:
        torch.index_select(emission.probabilities.T, 0, distinct.clamp(min=0), out=table)
        table[: int((distinct == MISSING).sum())] = 1
    else:
        table.copy_(emission.columns(distinct))
    return Emitted(distinct, table, row)


def read_forward(transition: StochasticMatrix, emitted: Emitted, initial: Tensor, work: Workspace) -> Forward:
    """All filtered states, in the dtype of the products, in memory of the workspace. initial: [H]."""
    length, batch = emitted.row.shape
    states = len(initial)
    dtype = product_dtype(transition, initial)
    filtered = work.take("filtered", initial, length, batch, states, dtype=dtype)
    probability = initial.new_empty(length, batch)
    joint = work.take("joint", initial, batch, states)
    moved = work.take("moved", initial, batch, states, dtype=dtype)
    predictive, steps = initial, zip(emitted.row, probability, filtered, strict=True)
    for t, (row, probability_at_t, filtered_at_t) in enumerate(steps, start=1):
        torch.index_select(emitted.table, 0, row, out=joint)
        absorb(joint.mul_(predictive), probability_at_t, filtered_at_t)
        predictive = move_left(transition, filtered_at_t, moved) if t < length else initial
    return Forward(filtered, probability)


def read_backward(
    transition: StochasticMatrix, emitted: Emitted, forward: Forward, work: Workspace, arriving: Tensor | None = None
) -> Iterator[Step]:
    """Posteriors from the last time to the first.

    arriving: [T, B, H] in the dtype of the products; filled, but for time 0, with emitted_t * future_t / c_t. It counts
    the moves: p(z_{t-1} = i, z_t = j | x) = filtered_{t-1}[i] * transition[i, j] * arriving_t[j].
    """
    length, batch, states = forward.filtered.shape
    table, dtype = emitted.table, forward.filtered.dtype
    scale = divisor(forward.probability)[..., None].unbind()  # taken apart once: a step of small states is short
    rows, filtered = emitted.row.unbind(), forward.filtered.unbind()
    posterior = work.take("posterior", table, batch, states)
    ratio = work.take("joint", table, batch, states)
    future = work.take("moved", table, batch, states, dtype=dtype)
    future.copy_((forward.probability > 0).all(0)[:, None].expand(batch, states))  # 0: impossible, counts for nothing
    for t in range(length - 1, -1, -1):
        torch.mul(filtered[t].to(table.dtype), future, out=posterior)
        yield Step(t, posterior)
        if t > 0:
            torch.index_select(table, 0, rows[t], out=ratio)
            into = work.take("arriving_once", table, batch, states, dtype=dtype) if arriving is None else arriving[t]
            torch.div(ratio.mul_(future), scale[t], out=into).clamp_(max=LARGEST_RATIO)
            move_right(transition, into, future)


def absorb(joint: Tensor, probability: Tensor, filtered: Tensor) -> None:
    """Condition on a token: p(z_t, x_t | past) [B, H] gives p(x_t | past) [B] and p(z_t | past, x_t) [B, H]."""
    torch.sum(joint, 1, out=probability)
    torch.div(joint, divisor(probability)[:, None], out=filtered)


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


def divisor(sums: Tensor) -> Tensor:
    """Sums to divide by: those of impossible tokens are 0, and so is what they divide, and shall stay it."""
    return sums + (sums == 0)
