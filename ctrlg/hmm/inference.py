"""Inference in hidden Markov models: pure functions in the probability domain, rescaled at every token.

The joint probability is `p(z_1) prod_t p(x_t | z_t) p(z_{t+1} | z_t)`; Rabiner (1989), "A tutorial on hidden Markov
models", sec. III and V.A. Matrices are only touched through the operations of StochasticMatrix, so that a dense
and a compressed model run the same code.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.errors import VocabularyError
from ctrlg.matrices import StochasticMatrix

MISSING = -1  # id of a token that was not observed; its emission probability counts as 1


class Parameters(NamedTuple):
    """The three distributions of an HMM with H states over V tokens.

    transition: p(z_{t+1} | z_t), [H, H]. emission: p(x_t | z_t), [H, V]. initial: p(z_1), tensor [H].
    """

    transition: StochasticMatrix
    emission: StochasticMatrix
    initial: Tensor


class Filtered(NamedTuple):
    """What the forward pass knows after reading each token.

    log_likelihood: log p(x_1..x_T), nats, [B]; -inf where the model cannot emit the sequence.
    predictive: p(z_t = h | x_1..x_{t-1}), [B, T + 1, H]; rows sum to 1, or are 0 after an impossible token.
    token_probability: p(x_t | x_1..x_{t-1}), [B, T]; 1 at missing tokens.
    """

    log_likelihood: Tensor
    predictive: Tensor
    token_probability: Tensor


class Smoothed(NamedTuple):
    """Posteriors given whole sequences. posterior: p(z_t = h | x_1..x_T), [B, T, H]; log_likelihood: nats, [B]."""

    log_likelihood: Tensor
    posterior: Tensor


class ExpectedCounts(NamedTuple):
    """Sufficient statistics of EM, summed over sequences (Rabiner 1989, eqs. 40a-c before division).

    initial: expected number of sequences that begin in h, [H]. transition: of moves i -> j, [H, H].
    emission: of tokens v emitted by h, [H, U], for the tokens `tokens` [U] that occur. log_likelihood: nats, scalar.
    """

    initial: Tensor
    transition: Tensor
    emission: Tensor
    tokens: Tensor
    log_likelihood: Tensor


def check_tokens(tokens: Tensor, vocab_size: int) -> None:
    """Raise VocabularyError for ids outside [0, vocab_size) other than -1 (missing), or a shape other than [B, T]."""
    if tokens.dim() != 2 or tokens.is_floating_point():
        raise VocabularyError(
            f"token ids have shape {tuple(tokens.shape)} and type {tokens.dtype}",
            hint="give integers of shape [sequences, length]",
        )
    if tokens.numel() and not (int(tokens.min()) >= MISSING and int(tokens.max()) < vocab_size):
        worst = int(tokens.max()) if int(tokens.max()) >= vocab_size else int(tokens.min())
        raise VocabularyError(
            f"token id {worst} is outside [0, {vocab_size})",
            hint="use the tokenizer the HMM was distilled with; -1 stands for a missing token",
        )


def filter_tokens(model: Parameters, tokens: Tensor) -> Filtered:
    """Forward pass: predictive states, probability of every token, log-likelihood.

    tokens: int64 [B, T]; -1 stands for a missing token and multiplies by one.
    Raises VocabularyError for any other id outside [0, V).
    """
    check_tokens(tokens, model.emission.shape[1])
    batch, length = tokens.shape
    states = model.initial.shape[0]
    predictive = model.initial.new_empty(batch, length + 1, states)
    probability = model.initial.new_empty(batch, length)
    predictive[:, 0] = model.initial
    for t in range(length):
        joint = predictive[:, t] * model.emission.columns(tokens[:, t]).to(predictive.dtype)
        probability[:, t] = joint.sum(1)
        filtered = joint / _nonzero(probability[:, t, None])
        predictive[:, t + 1] = _normalised(model.transition.left(filtered))
    return Filtered(_log_likelihood(probability), predictive, probability)


def smooth_tokens(model: Parameters, tokens: Tensor) -> Smoothed:
    """Forward and backward pass: posterior of every hidden state. Arguments and errors as for filter_tokens."""
    passes = _forward_backward(model, tokens)
    return Smoothed(_log_likelihood(passes.probability), passes.filtered * passes.future)


def expected_counts(model: Parameters, tokens: Tensor) -> ExpectedCounts:
    """E-step over a batch: expected initial states, transitions and emissions.

    tokens: int64 [B, T]; -1 (missing) counts as no emission but lets the chain pass; sequences the model cannot emit
    count for nothing. Transitions of the whole batch are one [H, B(T-1)] x [B(T-1), H] product.
    Raises VocabularyError as filter_tokens.
    """
    passes = _forward_backward(model, tokens)
    _, length, states = passes.filtered.shape
    possible = (passes.probability > 0).all(1)
    posterior = passes.filtered * passes.future
    posterior = posterior * possible[:, None, None]

    # p(z_t = i, z_{t+1} = j | x) = filtered_t[i] * transition[i, j] * arriving_{t+1}[j]
    leaving = (passes.filtered[:, :-1] * possible[:, None, None]).reshape(-1, states)
    arriving = passes.arriving[:, 1:].reshape(-1, states)
    transition = model.transition.to_dense().to(leaving.dtype) * (leaving.T @ arriving)

    seen = tokens != MISSING
    occurring, index = torch.unique(tokens[seen], return_inverse=True)
    emission = posterior.new_zeros(occurring.shape[0], states)
    emission.index_add_(0, index, posterior[seen])
    return ExpectedCounts(
        initial=posterior[:, 0].sum(0) if length else posterior.new_zeros(states),
        transition=transition,
        emission=emission.T.contiguous(),
        tokens=occurring,
        log_likelihood=_log_likelihood(passes.probability).sum(),
    )


def log_likelihood(model: Parameters, tokens: Tensor) -> Tensor:
    """log p(x_1..x_T) in nats, [B], keeping one step of states only. Arguments and errors as for filter_tokens."""
    check_tokens(tokens, model.emission.shape[1])
    predictive = model.initial.expand(tokens.shape[0], -1)
    probability = model.initial.new_empty(tokens.shape)
    for t in range(tokens.shape[1]):
        joint = predictive * model.emission.columns(tokens[:, t]).to(predictive.dtype)
        probability[:, t] = joint.sum(1)
        predictive = _normalised(model.transition.left(joint / _nonzero(probability[:, t, None])))
    return _log_likelihood(probability)


def sample_tokens(model: Parameters, count: int, length: int, generator: torch.Generator | None = None) -> Tensor:
    """`count` sequences of `length` tokens drawn from the model, int64 [count, length]."""
    states = torch.multinomial(model.initial, count, replacement=True, generator=generator)
    tokens = torch.empty(count, length, dtype=torch.long, device=model.initial.device)
    for t in range(length):
        tokens[:, t] = _draw(model.emission, states, generator)
        if t + 1 < length:
            states = _draw(model.transition, states, generator)
    return tokens


class _Passes(NamedTuple):
    """filtered: p(z_t | x_1..x_t); future: p(x_{t+1}.. | z_t) / p(x_{t+1}.. | x_1..x_t); arriving: emission
    probability of x_t times future_t over p(x_t | x_1..x_{t-1}); all [B, T, H]. probability: [B, T]."""

    filtered: Tensor
    future: Tensor
    arriving: Tensor
    probability: Tensor


def _forward_backward(model: Parameters, tokens: Tensor) -> _Passes:
    forward = filter_tokens(model, tokens)
    batch, length = tokens.shape
    states = model.initial.shape[0]
    dtype = forward.predictive.dtype
    emitted = model.emission.columns(tokens.reshape(-1)).to(dtype).reshape(batch, length, states)
    emitted = emitted / _nonzero(forward.token_probability[..., None])
    future = torch.ones_like(emitted)
    arriving = torch.empty_like(emitted)
    for t in range(length - 1, -1, -1):
        arriving[:, t] = emitted[:, t] * future[:, t]
        if t > 0:
            future[:, t - 1] = model.transition.right(arriving[:, t])
    return _Passes(forward.predictive[:, :-1] * emitted, future, arriving, forward.token_probability)


def _draw(matrix: StochasticMatrix, rows: Tensor, generator: torch.Generator | None, block: int = 128) -> Tensor:
    """One column index per row, drawn from that row's distribution; `block` rows are expanded at a time."""
    drawn = torch.empty_like(rows)
    for start in range(0, len(rows), block):
        cumulated = matrix.rows(rows[start : start + block]).cumsum(1)
        uniform = torch.rand(len(cumulated), 1, generator=generator, device=rows.device)
        index = torch.searchsorted(cumulated, uniform * cumulated[:, -1:], right=True)[:, 0]
        drawn[start : start + block] = index.clamp_max(matrix.shape[1] - 1)
    return drawn


def _log_likelihood(probability: Tensor) -> Tensor:
    return probability.log().sum(1)


def _normalised(rows: Tensor) -> Tensor:
    """Rows scaled to sum to 1; rows of zeros stay zero. Stops rounding from piling up over long sequences."""
    return rows / _nonzero(rows.sum(-1, keepdim=True))


def _nonzero(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.ones_like(x))
