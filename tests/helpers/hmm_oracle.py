"""Tiny HMMs in float64, summed over every path of hidden states, and the E-step one token at a time: the truth."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.hmm import HMM, Parameters


def random_hmm(states: int, vocabulary: int, seed: int, eos_token_id: int = 0) -> HMM:
    generator = torch.Generator().manual_seed(seed)

    def rows(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).pow(3).add(1e-3)

    def normalised(x: Tensor) -> Tensor:
        return x / x.sum(-1, keepdim=True)

    return HMM.of_parameters(
        normalised(rows(states, states)),
        normalised(rows(states, vocabulary)),
        normalised(rows(states)),
        eos_token_id,
    )


def path_probabilities(hmm: HMM, tokens: list[int]) -> dict[tuple[int, ...], float]:
    """Joint probability of the tokens and every path of hidden states; -1 is a missing token."""
    transition = hmm.alpha_exp.double()
    emission = hmm.beta.double().exp()
    initial = hmm.gamma.double().softmax(0)
    joint = {}
    for path in itertools.product(range(hmm.hidden_states), repeat=len(tokens)):
        value = float(initial[path[0]])
        for t, (state, token) in enumerate(zip(path, tokens, strict=True)):
            value *= float(emission[state, token]) if token >= 0 else 1.0
            if t + 1 < len(path):
                value *= float(transition[state, path[t + 1]])
        joint[path] = value
    return joint


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
