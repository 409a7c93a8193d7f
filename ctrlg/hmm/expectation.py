"""The E-step of EM: expected initial states, moves and emissions, of one batch or summed over a chunk of data.

A chunk is two products of [B, H] x [H, H] a step and one of [H, B(T-1)] x [B(T-1), H] a batch, 6 H^2 operations a
token; emissions are touched for the tokens that occur, never for the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.hmm import passes
from ctrlg.hmm.inference import MISSING, Parameters, check_tokens
from ctrlg.matrices import DenseMatrix

GROUP_BYTES = 2**26
"""Filtered and arriving states that `total_counts` holds at a time: about 64 MB."""


class ExpectedCounts(NamedTuple):
    """Sufficient statistics of EM, summed over sequences (Rabiner 1989, eqs. 40a-c before division).

    initial: expected number of sequences that begin in h, [H]. transition: of moves i -> j, [H, H].
    emission: of tokens v emitted by h, [H, U], for the tokens `tokens` [U] that occur. log_likelihood: nats, scalar.
    posterior: p(z_t = h | x_1..x_T), [B, T, H], 0 for sequences the model cannot emit; None unless asked for.
    """

    initial: Tensor
    transition: Tensor
    emission: Tensor
    tokens: Tensor
    log_likelihood: Tensor
    posterior: Tensor | None = None


class TotalCounts(NamedTuple):
    """Expected counts of a data set: initial [H], transition [H, H], emission [V, H] (token-major), nats, rows."""

    initial: Tensor
    transition: Tensor
    emission: Tensor
    log_likelihood: float
    sequences: int


def expected_counts(
    model: Parameters, tokens: Tensor, posterior: bool = False, product_dtype: torch.dtype | None = None
) -> ExpectedCounts:
    """E-step over a batch: expected initial states, transitions and emissions. Many batches: `total_counts`.

    tokens: int64 [B, T]; -1 (missing) counts as no emission but lets the chain pass; sequences the model cannot emit
    count for nothing. posterior: whether the result holds the posterior of every token.
    product_dtype: as in `CountSums`. Raises VocabularyError as filter_tokens.
    """
    check_tokens(tokens, model.emission.shape[1])
    transition = _dense_transition(model, product_dtype)
    moves = model.initial.new_zeros(transition.shape)
    states = _states_of(transition.probabilities, tokens, None)
    batch = _count(model, transition, tokens, moves, states, count_tokens=True, keep_posterior=posterior)
    return ExpectedCounts(
        batch.initial,
        moves.mul_(_dense_transition(model, None).probabilities),
        batch.emission.T.contiguous(),
        batch.tokens,
        batch.log_likelihood,
        batch.posterior if posterior else None,
    )


def total_counts(
    model: Parameters,
    batches: Iterable[Tensor],
    product_dtype: torch.dtype | None = None,
    group_bytes: int | None = GROUP_BYTES,
) -> TotalCounts:
    """E-step over batches of token ids int64 [B, T]; see `expected_counts`.

    group_bytes: consecutive batches of equal length are joined, and long ones cut, so that the states held at a time
    take about as many bytes; None takes the batches as they come. product_dtype: as in `CountSums`.
    Raises VocabularyError as filter_tokens.
    """
    sums = CountSums(model, product_dtype)
    if group_bytes is not None:
        states_per_token = 2 * len(model.initial) * (product_dtype or model.initial.dtype).itemsize
        batches = grouped(batches, max(1, group_bytes // states_per_token))
    for tokens in batches:
        sums.add(tokens)
    return sums.total()


class CountSums:
    """Running sums of expected counts, for a caller that feeds batch after batch.

    `add` counts tokens as they are. `add_moves` counts all but emissions and returns the posterior, with which the
    caller credits emissions of its own to `emission`, token-major [V, H]: say, a language model's whole next-token
    distribution p(v | x_<t), `emission.addmm_(distribution.flatten(0, 1).T, posterior.flatten(0, 1))`.

    model: the parameters of the E-step; the transition matrix is held dense, as its counts are.
    product_dtype: of the matrix products, the dtype of `initial` where None. With bfloat16, about twice as fast where
    the processor has it, filtered and arriving states are held in it too; sums, scales and emissions are not.
    """

    def __init__(self, model: Parameters, product_dtype: torch.dtype | None = None) -> None:
        states, vocabulary = model.emission.shape
        self.emission = model.initial.new_zeros(vocabulary, states)
        self._model = model
        self._transition = _dense_transition(model, product_dtype)
        self._initial = model.initial.new_zeros(states)
        self._states: Tensor | None = None
        self._moves = model.initial.new_zeros(states, states)
        self._log_likelihood = model.initial.new_zeros((), dtype=torch.float64)
        self._sequences = 0

    def add(self, tokens: Tensor) -> None:
        """Count int64 [B, T]; -1 is a missing token. Raises VocabularyError as filter_tokens."""
        batch = self._add(tokens, count_tokens=True, keep_posterior=False)
        self.emission.index_add_(0, batch.tokens, batch.emission)

    def add_moves(self, tokens: Tensor) -> Tensor:
        """Count int64 [B, T] without emissions: p(z_t = h | x_1..x_T), [B, T, H], 0 for impossible sequences."""
        return self._add(tokens, count_tokens=False, keep_posterior=True).posterior

    def total(self) -> TotalCounts:
        """What has been counted so far. `emission` is not copied: later batches change it."""
        return TotalCounts(
            self._initial.clone(),
            self._moves * _dense_transition(self._model, None).probabilities,
            self.emission,
            float(self._log_likelihood),
            self._sequences,
        )

    def _add(self, tokens: Tensor, count_tokens: bool, keep_posterior: bool) -> _Batch:
        check_tokens(tokens, self._model.emission.shape[1])
        self._states = _states_of(self._transition.probabilities, tokens, self._states)
        batch = _count(self._model, self._transition, tokens, self._moves, self._states, count_tokens, keep_posterior)
        self._initial += batch.initial
        self._log_likelihood += batch.log_likelihood
        self._sequences += tokens.shape[0]
        return batch


def grouped(batches: Iterable[Tensor], most_tokens: int) -> Iterator[Tensor]:
    """The rows of int64 [B, T] in order, in batches of one length and at most `most_tokens` tokens (or one row)."""
    waiting: list[Tensor] = []
    for batch in batches:
        for rows in batch.split(max(1, most_tokens // max(1, batch.shape[-1]))):
            held = sum(map(torch.numel, waiting))
            if waiting and (waiting[0].shape[1:] != rows.shape[1:] or held + rows.numel() > most_tokens):
                yield torch.cat(waiting)
                waiting = []
            waiting.append(rows)
    if waiting:
        yield torch.cat(waiting)


class _Batch(NamedTuple):
    """initial: [H]. tokens: that occur, without -1, [U]. emission: their counts, [U, H], empty where not asked for.
    log_likelihood: nats, scalar. posterior: [B, T, H], empty where not asked for."""

    initial: Tensor
    tokens: Tensor
    emission: Tensor
    log_likelihood: Tensor
    posterior: Tensor


def _count(
    model: Parameters,
    transition: DenseMatrix,
    tokens: Tensor,
    moves: Tensor,
    states: Tensor,
    count_tokens: bool,
    keep_posterior: bool,
) -> _Batch:
    """Adds to `moves` [H, H] the counts of moves over their probability; returns the rest. states: `_states_of`."""
    emitted = passes.gather_emitted(model.emission, tokens, model.initial.dtype)
    filtered, arriving = states[: 2 * tokens.numel() * len(moves)].view(2, *emitted.row.shape, len(moves))
    forward = passes.read_forward(transition, emitted, model.initial, filtered)
    posterior = model.initial.new_empty(arriving.shape if keep_posterior else (0, *arriving.shape[1:]))
    emission = torch.zeros_like(emitted.table if count_tokens else emitted.table[:0])
    initial = torch.zeros_like(model.initial)
    for t, at_t in passes.read_backward(transition, emitted, forward, arriving):
        if count_tokens:
            emission.index_add_(0, emitted.row[t], at_t)
        if keep_posterior:
            posterior[t] = at_t
        if t == 0:
            torch.sum(at_t, 0, out=initial)
    _add_product(moves, forward.filtered[:-1].flatten(0, 1), arriving[1:].flatten(0, 1))
    first = int((emitted.tokens == MISSING).sum())
    return _Batch(
        initial,
        emitted.tokens[first:],
        emission[first:],
        forward.probability.log().sum(),
        posterior.transpose(0, 1),
    )


def _states_of(transition: Tensor, tokens: Tensor, held: Tensor | None) -> Tensor:
    """Memory for filtered and arriving states of tokens [B, T]: `held` where it suffices, for new pages cost time."""
    size = 2 * tokens.numel() * len(transition)
    return held if held is not None and held.numel() >= size else transition.new_empty(size)


def _add_product(total: Tensor, x: Tensor, y: Tensor) -> None:
    """`total += x.T @ y`, without a copy of the product where the dtypes agree."""
    if x.dtype == total.dtype:
        total.addmm_(x.T, y)
    else:
        total += x.T @ y


def _dense_transition(model: Parameters, dtype: torch.dtype | None) -> DenseMatrix:
    """The transition matrix in `dtype`, that of `initial` where None; shared, not copied, where it is that already."""
    transition = model.transition
    return DenseMatrix(transition.column_block(0, transition.shape[1], dtype or model.initial.dtype))
