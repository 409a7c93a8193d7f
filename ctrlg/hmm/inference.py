"""Inference in hidden Markov models: pure functions in the probability domain, rescaled at every token.

The joint probability is `p(z_1) prod_t p(x_t | z_t) p(z_{t+1} | z_t)`; Rabiner (1989), "A tutorial on hidden Markov
models", sec. III and V.A. Matrices are only touched through the operations of StochasticMatrix, so that a dense
and a compressed model run the same code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.devices import without_autocast
from ctrlg.errors import VocabularyError
from ctrlg.hmm import passes
from ctrlg.matrices import StochasticMatrix

MISSING = -1  # id of a token that was not observed; its emission probability counts as 1


class Parameters(NamedTuple):
    """The three distributions of an HMM with H states over V tokens.

    Attributes:
        transition: p(z_{t+1} | z_t), [H, H].
        emission: p(x_t | z_t), [H, V].
        initial: p(z_1), tensor [H].
    """

    transition: StochasticMatrix
    emission: StochasticMatrix
    initial: Tensor


class Filtered(NamedTuple):
    """What the forward pass knows after reading each token.

    Attributes:
        log_likelihood: log p(x_1..x_T), nats, [B]; -inf where the model cannot emit the sequence.
        predictive: p(z_t = h | x_1..x_{t-1}), [B, T + 1, H]; rows sum to 1, or are 0 after an impossible token.
        token_probability: p(x_t | x_1..x_{t-1}), [B, T]; 1 at missing tokens.
    """

    log_likelihood: Tensor
    predictive: Tensor
    token_probability: Tensor


class Smoothed(NamedTuple):
    """Posteriors given whole sequences.

    Attributes:
        log_likelihood: log p(x_1..x_T), nats, [B].
        posterior: p(z_t = h | x_1..x_T), [B, T, H].
    """

    log_likelihood: Tensor
    posterior: Tensor


def check_tokens(tokens: Tensor, vocab_size: int) -> None:
    """Refuse what is not a batch of token ids.

    Args:
        tokens: integers [B, T] in [0, vocab_size), or -1 (missing).
        vocab_size: V.

    Raises:
        VocabularyError: other ids, or another shape or type.
    """
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


@without_autocast()
def filter_tokens(model: Parameters, tokens: Tensor) -> Filtered:
    """Forward pass: predictive states, probability of every token, log-likelihood.

    In the probability domain, rescaled at every token (Rabiner 1989, sec. V.A).

    Args:
        model: the HMM, H states over V tokens.
        tokens: int64 [B, T]; -1 stands for a missing token and multiplies by one.

    Returns:
        Log-likelihoods in nats [B], predictive states [B, T + 1, H] and token probabilities [B, T].

    Raises:
        VocabularyError: any other id outside [0, V).
    """
    check_tokens(tokens, model.emission.shape[1])
    batch, length = tokens.shape
    predictive = model.initial.new_empty(length + 1, batch, len(model.initial))
    probability = model.initial.new_empty(length, batch)
    predictive[0] = model.initial
    for t, after in enumerate(_predict(model, tokens, probability), start=1):
        predictive[t] = after
    return Filtered(_log_likelihood(probability), predictive.transpose(0, 1), probability.T)


@without_autocast()
def smooth_tokens(model: Parameters, tokens: Tensor) -> Smoothed:
    """Forward and backward pass: posterior of every hidden state (Rabiner 1989, sec. III and V.A).

    Args:
        model: the HMM, H states over V tokens.
        tokens: int64 [B, T]; -1 stands for a missing token.

    Returns:
        Log-likelihoods in nats [B] and posteriors [B, T, H].

    Raises:
        VocabularyError: any other id outside [0, V).
    """
    check_tokens(tokens, model.emission.shape[1])
    work = passes.Workspace()
    emitted = passes.gather_emitted(model.emission, tokens, model.initial, work)
    forward = passes.read_forward(model.transition, emitted, model.initial, work)
    posterior = model.initial.new_empty(forward.filtered.shape)
    for t, at_t in passes.read_backward(model.transition, emitted, forward, work):
        posterior[t] = at_t
    return Smoothed(_log_likelihood(forward.probability), posterior.transpose(0, 1))


@without_autocast()
def log_likelihood(model: Parameters, tokens: Tensor) -> Tensor:
    """log p(x_1..x_T), keeping one step of states only.

    Args:
        model: the HMM, H states over V tokens.
        tokens: int64 [B, T]; -1 stands for a missing token.

    Returns:
        Nats, [B]; -inf where the model cannot emit the sequence.

    Raises:
        VocabularyError: any other id outside [0, V).
    """
    check_tokens(tokens, model.emission.shape[1])
    probability = model.initial.new_empty(tokens.shape[1], tokens.shape[0])
    for _ in _predict(model, tokens, probability):
        pass
    return _log_likelihood(probability)


def sample_tokens(model: Parameters, count: int, length: int, generator: torch.Generator | None = None) -> Tensor:
    """Sequences sampled from the model.

    Args:
        model: the HMM.
        count: how many.
        length: tokens of each.
        generator: of random numbers, on the device of the model; torch's own where None.

    Returns:
        int64 [count, length].
    """
    states = torch.multinomial(model.initial, count, replacement=True, generator=generator)
    tokens = torch.empty(count, length, dtype=torch.long, device=model.initial.device)
    for t in range(length):
        tokens[:, t] = _draw(model.emission, states, generator)
        if t + 1 < length:
            states = _draw(model.transition, states, generator)
    return tokens


def _predict(model: Parameters, tokens: Tensor, probability: Tensor) -> Iterator[Tensor]:
    """p(z_{t+1} | x_1..x_t) for t = 1..T, [B, H], overwritten by the next; fills p(x_t | x_1..x_{t-1}), [T, B]."""
    emitted = passes.gather_emitted(model.emission, tokens, model.initial, passes.Workspace())
    joint, predictive = (model.initial.new_empty(tokens.shape[0], len(model.initial)) for _ in range(2))
    filtered = torch.empty_like(joint, dtype=passes.product_dtype(model.transition, model.initial))
    moved = torch.empty_like(filtered)
    predictive.copy_(model.initial.expand_as(predictive))
    for t in range(tokens.shape[1]):
        torch.index_select(emitted.table, 0, emitted.row[t], out=joint)
        passes.absorb(joint.mul_(predictive), probability[t], filtered)
        passes.move_left(model.transition, filtered, moved)
        # rows of the matrix sum to 1 but for rounding, which must not pile up; rows of zeros stay zero
        torch.div(moved, passes.divisor(moved.sum(1, keepdim=True)), out=predictive)
        yield predictive


def _draw(matrix: StochasticMatrix, rows: Tensor, generator: torch.Generator | None, block: int = 128) -> Tensor:
    """One column index per row, sampled from that row's distribution; `block` rows are expanded at a time."""
    sampled = torch.empty_like(rows)
    for start in range(0, len(rows), block):
        cumulated = matrix.rows(rows[start : start + block]).cumsum(1)
        uniform = torch.rand(len(cumulated), 1, generator=generator, dtype=torch.float32, device=rows.device)
        index = torch.searchsorted(cumulated, uniform * cumulated[:, -1:], right=True)[:, 0]
        sampled[start : start + block] = index.clamp_max(matrix.shape[1] - 1)
    return sampled


def _log_likelihood(probability: Tensor) -> Tensor:
    """Sum of log p(x_t | x_1..x_{t-1}) over time: [T, B] -> [B]."""
    return probability.log().sum(0)
