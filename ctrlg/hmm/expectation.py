"""The E-step of EM: expected initial states, moves and emissions, of one batch or summed over a chunk of data.

A chunk is two products of [B, H] x [H, H] a step and one of [H, B(T-1)] x [B(T-1), H] a batch, 6 H^2 operations a
token; emissions are touched for the tokens that occur, never for the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.devices import without_autocast
from ctrlg.errors import ArgumentError
from ctrlg.hmm import passes
from ctrlg.hmm.inference import MISSING, Parameters, check_tokens
from ctrlg.matrices import DenseMatrix, StochasticMatrix

GROUP_BYTES = 2**24
"""Small batches are joined up to so many bytes of filtered and arriving states: 8,192 tokens of 256 float32 states."""


class ExpectedCounts(NamedTuple):
    """Sufficient statistics of EM, summed over sequences (Rabiner 1989, eqs. 40a-c before division).

    Attributes:
        initial: expected number of sequences that begin in h, [H].
        transition: of moves i -> j, [H, H].
        emission: of tokens v emitted by h, [H, U], for the tokens that occur.
        tokens: these tokens, [U].
        log_likelihood: nats, scalar.
        posterior: p(z_t = h | x_1..x_T), [B, T, H], 0 for sequences the model cannot emit; None unless asked for.
    """

    initial: Tensor
    transition: Tensor
    emission: Tensor
    tokens: Tensor
    log_likelihood: Tensor
    posterior: Tensor | None = None


class TotalCounts(NamedTuple):
    """Expected counts of a data set.

    Attributes:
        initial: [H].
        transition: [H, H].
        emission: [V, H], token-major.
        log_likelihood: of all sequences, nats.
        sequences: how many there are.
    """

    initial: Tensor
    transition: Tensor
    emission: Tensor
    log_likelihood: float
    sequences: int


@without_autocast()
def expected_counts(
    model: Parameters, tokens: Tensor, posterior: bool = False, product_dtype: torch.dtype | None = None
) -> ExpectedCounts:
    """E-step over a batch: expected initial states, transitions and emissions. Many batches: `total_counts`.

    Args:
        model: the parameters of the E-step.
        tokens: int64 [B, T]; -1 (missing) counts as no emission but lets the chain pass; sequences the model cannot
            emit count for nothing.
        posterior: whether the result holds the posterior of every token.
        product_dtype: as in `CountSums`.

    Raises:
        VocabularyError: as `filter_tokens`.
    """
    check_tokens(tokens, model.emission.shape[1])
    chain = _Chain(model, product_dtype)
    emitted = chain.gather(tokens)
    emission = torch.zeros_like(emitted.table)
    kept = emission.new_empty(*emitted.row.shape if posterior else (0, 0), emission.shape[1])
    for t, at_t in chain.count(emitted):
        emission.index_add_(0, emitted.row[t], at_t)
        if posterior:
            kept[t] = at_t
    first = int((emitted.tokens == MISSING).sum())
    return ExpectedCounts(
        chain.initial,
        chain.transition(),
        emission[first:].T.contiguous(),
        emitted.tokens[first:],
        chain.log_likelihood.to(emission.dtype),
        kept.transpose(0, 1) if posterior else None,
    )


@without_autocast()
def total_counts(
    model: Parameters,
    batches: Iterable[Tensor],
    product_dtype: torch.dtype | None = None,
    group_bytes: int = GROUP_BYTES,
) -> TotalCounts:
    """E-step over many batches; see `expected_counts`.

    Args:
        model: the parameters of the E-step.
        batches: token ids int64 [B, T].
        product_dtype: as in `CountSums`.
        group_bytes: consecutive batches of equal length are joined for larger products while the states held at a time
            take no more; 0 takes the batches as they come.

    Raises:
        VocabularyError: as `filter_tokens`.
    """
    sums = CountSums(model, product_dtype)
    bytes_per_token = 2 * len(model.initial) * (product_dtype or model.initial.dtype).itemsize
    for tokens in joined(batches, group_bytes // bytes_per_token):
        sums.add(tokens)
    return sums.total()


class CountSums:
    """Running sums of expected counts, for a caller that feeds batch after batch.

    `add` counts tokens as they are. `add_moves` counts all but emissions and returns the posterior, with which the
    caller credits emissions of its own to `emission`, token-major [V, H]: say, a language model's whole next-token
    distribution p(v | x_<t), `emission.addmm_(distribution.flatten(0, 1).T, posterior.flatten(0, 1))`.

    Args:
        model: the parameters of the E-step; the transition matrix is held dense, as its counts are.
        product_dtype: of the matrix products, the dtype of `initial` where None. With bfloat16, about twice as fast
            where the processor has it, filtered and arriving states are held in it too; sums, scales and emissions are
            not.
    """

    def __init__(self, model: Parameters, product_dtype: torch.dtype | None = None) -> None:
        states, vocabulary = model.emission.shape
        self._chain = _Chain(model, product_dtype)
        self._missing = vocabulary  # a row after those of the vocabulary takes what missing tokens are credited
        self._emission = model.initial.new_zeros(vocabulary + 1, states)
        self._sequences = 0

    @property
    def emission(self) -> Tensor:
        """Counts of emissions so far, [V, H], to be added to in place."""
        return self._emission[: self._missing]

    def add(self, tokens: Tensor) -> None:
        """Count a batch.

        Args:
            tokens: int64 [B, T]; -1 is a missing token.

        Raises:
            VocabularyError: as `filter_tokens`.
        """
        rows = tokens.T.masked_fill(tokens.T == MISSING, self._missing)
        for t, posterior in self._count(tokens):
            self._emission.index_add_(0, rows[t], posterior)

    def add_moves(self, tokens: Tensor) -> Tensor:
        """Count a batch without its emissions.

        Args:
            tokens: int64 [B, T]; -1 is a missing token.

        Returns:
            p(z_t = h | x_1..x_T), [B, T, H], 0 for impossible sequences.
        """
        kept = self._emission.new_empty(*tokens.T.shape, self._emission.shape[1])
        for t, posterior in self._count(tokens):
            kept[t] = posterior
        return kept.transpose(0, 1)

    def add_moves_predicting(self, tokens: Tensor) -> Tensor:
        """Count a batch without its emissions.

        Args:
            tokens: int64 [B, T]; -1 is a missing token.

        Returns:
            p(z_t = h | x_1..x_{t-1}), [B, T, H]; arbitrary after an impossible token.
        """
        for _ in self._count(tokens):
            pass
        return self._chain.predictive().transpose(0, 1)

    def total(self) -> TotalCounts:
        """What has been counted so far. `emission` is not copied: later batches change it."""
        chain = self._chain
        return TotalCounts(
            chain.initial.clone(), chain.transition(), self.emission, float(chain.log_likelihood), self._sequences
        )

    def _count(self, tokens: Tensor) -> Iterator[passes.Step]:
        check_tokens(tokens, self._missing)
        yield from self._chain.count(self._chain.gather(tokens))
        self._sequences += tokens.shape[0]


def joined(batches: Iterable[Tensor], most_tokens: int) -> Iterator[Tensor]:
    """Batches [B, T] in their order, consecutive ones of equal length put together up to `most_tokens` tokens."""
    waiting: list[Tensor] = []
    for batch in batches:
        held = sum(map(torch.numel, waiting))
        if waiting and (waiting[0].shape[1:] != batch.shape[1:] or held + batch.numel() > most_tokens):
            yield torch.cat(waiting)
            waiting = []
        waiting.append(batch)
    if waiting:
        yield torch.cat(waiting)


class _Chain:
    """Counts of all but emissions: initial [H], moves [H, H] over their probabilities, log-likelihood in nats."""

    def __init__(self, model: Parameters, product_dtype: torch.dtype | None) -> None:
        self._model = model
        self._probabilities = _dense(model.transition, model.initial.dtype)
        self._products = DenseMatrix(_dense(model.transition, product_dtype or model.initial.dtype))
        self._moves = torch.zeros_like(self._probabilities)
        self._work = passes.Workspace()
        self._filtered: Tensor | None = None  # in memory of the workspace, valid until the next batch
        self.initial = torch.zeros_like(model.initial)
        self.log_likelihood = model.initial.new_zeros((), dtype=torch.float64)

    def gather(self, tokens: Tensor) -> passes.Emitted:
        """Emission probabilities of int64 [B, T]; valid until the next call."""
        return passes.gather_emitted(self._model.emission, tokens, self._model.initial, self._work)

    def count(self, emitted: passes.Emitted) -> Iterator[passes.Step]:
        """The posteriors of a batch from its last time to the first; what the chain counts is complete after them."""
        forward = passes.read_forward(self._products, emitted, self._model.initial, self._work)
        self._filtered = forward.filtered
        arriving = self._work.take("arriving", forward.filtered, *forward.filtered.shape)
        for step in passes.read_backward(self._products, emitted, forward, self._work, arriving):
            if step.t == 0:
                self.initial += step.posterior.sum(0)
            yield step
        _add_product(self._moves, forward.filtered[:-1].flatten(0, 1), arriving[1:].flatten(0, 1))
        self.log_likelihood += forward.probability.log().sum()

    def predictive(self) -> Tensor:
        """p(z_t | x_1..x_{t-1}) of the last batch that was counted, [T, B, H]; rows sum to 1."""
        if self._filtered is None:
            raise ArgumentError("no batch has been counted", hint="count one first")
        length, batch, states = self._filtered.shape
        predictive = self._model.initial.new_empty(length, batch, states)
        predictive[0] = self._model.initial
        moved = self._products.left(self._filtered[:-1].reshape(-1, states)).to(predictive.dtype)
        predictive[1:] = (moved / passes.divisor(moved.sum(1, keepdim=True))).reshape(length - 1, batch, states)
        return predictive

    def transition(self) -> Tensor:
        """Expected moves i -> j, [H, H]."""
        return self._moves * self._probabilities


def _add_product(total: Tensor, x: Tensor, y: Tensor) -> None:
    """`total += x.T @ y`, without a tensor for the product where the dtypes agree."""
    if x.dtype == total.dtype:
        total.addmm_(x.T, y)
    else:
        total += x.T @ y


def _dense(matrix: StochasticMatrix, dtype: torch.dtype) -> Tensor:
    """All of the matrix; shared, not copied, where it is dense and of this dtype already."""
    return matrix.column_block(0, matrix.shape[1], dtype)
