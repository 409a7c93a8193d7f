"""Tiny HMMs summed over every path of hidden states, float64: what the inference functions must agree with."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ctrlg.hmm import HMM


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
