"""The M-step of EM, with pseudocounts and a Dirichlet prior on emissions (Rabiner 1989, eqs. 40a-c; MAP estimate)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.hmm.inference import Parameters, expected_counts


class Prior(NamedTuple):
    """Dirichlet prior on emissions, as observations that each state made before it saw data.

    emission: what they were, rows sum to 1, [H, V]. strength: how many per state, >= 0.
    """

    emission: Tensor
    strength: float


class TotalCounts(NamedTuple):
    """Expected counts of a data set: initial [H], transition [H, H], emission [V, H] (token-major), nats, rows."""

    initial: Tensor
    transition: Tensor
    emission: Tensor
    log_likelihood: float
    sequences: int


class Estimate(NamedTuple):
    """Probabilities after an M-step: transition [H, H], emission [H, V], initial [H]; rows sum to 1."""

    transition: Tensor
    emission: Tensor
    initial: Tensor


def total_counts(model: Parameters, batches: Iterable[Tensor]) -> TotalCounts:
    """E-step over batches of token ids int64 [B, T]; see `expected_counts`."""
    states, vocabulary = model.emission.shape
    initial = model.initial.new_zeros(states)
    transition = model.initial.new_zeros(states, states)
    emission = model.initial.new_zeros(vocabulary, states)
    log_likelihood, sequences = 0.0, 0
    for tokens in batches:
        counts = expected_counts(model, tokens)
        initial += counts.initial
        transition += counts.transition
        emission.index_add_(0, counts.tokens, counts.emission.T)
        log_likelihood += float(counts.log_likelihood)
        sequences += tokens.shape[0]
    return TotalCounts(initial, transition, emission, log_likelihood, sequences)


def maximise(counts: TotalCounts, pseudocount: float = 0.0, prior: Prior | None = None) -> Estimate:
    """Rows of counts, each plus `pseudocount` spread evenly (Ctrl-G's rule) and the prior's, divided by their sums.

    A row without any count becomes uniform. Raises ArgumentError for a negative pseudocount or strength.
    """
    if pseudocount < 0 or (prior is not None and prior.strength < 0):
        raise ArgumentError(
            f"pseudocount {pseudocount} or prior strength {prior.strength if prior else 0} is negative",
            hint="0 is maximum likelihood, Ctrl-G takes 0.001",
        )
    emission = counts.emission.T
    if prior is not None:
        emission = emission + prior.strength * prior.emission.to(emission)
    return Estimate(
        transition=_normalised(counts.transition, pseudocount),
        emission=_normalised(emission, pseudocount),
        initial=_normalised(counts.initial[None], pseudocount)[0],
    )


def _normalised(rows: Tensor, pseudocount: float) -> Tensor:
    rows = rows + pseudocount / rows.shape[1]
    sums = rows.sum(1, keepdim=True)
    return torch.where(sums > 0, rows / torch.where(sums > 0, sums, 1.0), 1.0 / rows.shape[1])
