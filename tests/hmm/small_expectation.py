"""The E-step spelled out in float64, one sequence and one step at a time: what the fast one is held against."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.hmm import Parameters


class Counts(NamedTuple):
    """initial [H], transition [H, H], emission [H, V], log_likelihood (nats), posterior [B, T, H]; float64."""

    initial: Tensor
    transition: Tensor
    emission: Tensor
    log_likelihood: float
    posterior: Tensor


def small_expected_counts(model: Parameters, tokens: Tensor) -> Counts:
    """Unscaled forward and backward probabilities (Rabiner 1989, sec. III.A); short sequences only."""
    transition, emission = model.transition.to_dense().double(), model.emission.to_dense().double()
    initial = model.initial.double()
    counts = Counts(
        torch.zeros_like(initial),
        torch.zeros_like(transition),
        torch.zeros_like(emission),
        0.0,
        torch.zeros(*tokens.shape, len(initial), dtype=torch.double),
    )
    log_likelihood = 0.0
    for row, sequence in enumerate(tokens.tolist()):
        emitted = [emission[:, v] if v >= 0 else torch.ones_like(initial) for v in sequence]
        forward = [initial * emitted[0]]
        for column in emitted[1:]:
            forward.append(forward[-1] @ transition * column)
        backward = [torch.ones_like(initial)]
        for column in reversed(emitted[1:]):
            backward.insert(0, transition @ (column * backward[0]))
        total = forward[-1].sum()
        log_likelihood += float(total.log())
        if total == 0:
            continue
        for t, token in enumerate(sequence):
            posterior = forward[t] * backward[t] / total
            counts.posterior[row, t] = posterior
            if token >= 0:
                counts.emission[:, token] += posterior
            if t == 0:
                counts.initial.add_(posterior)
            else:
                moves = transition * torch.outer(forward[t - 1], emitted[t] * backward[t])
                counts.transition.add_(moves / total)
    return counts._replace(log_likelihood=log_likelihood)
