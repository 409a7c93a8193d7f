"""Random HMMs for the tests of compression: distributions that span several decades, with and without zeros."""

from __future__ import annotations

import hypothesis.strategies as st
import torch
from hypothesis.strategies import SearchStrategy
from torch import Tensor

from ctrlg.hmm import HMM


def random_rows(states: int, size: int, spread: float, seed: int, zeros: float = 0.0) -> Tensor:
    """Float32 [states, size], rows sum to 1; `spread` is the deviation of log p, `zeros` a share of exact zeros."""
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(states, size, generator=generator)
    dropped = torch.rand(states, size, generator=generator) < zeros
    dropped[:, 0] = False
    return torch.softmax(logits.masked_fill(dropped, -torch.inf), dim=1)


def random_hmm(states: int, vocab_size: int, spread: float = 3.0, seed: int = 0, zeros: float = 0.0) -> HMM:
    return HMM.of_parameters(
        random_rows(states, states, spread, seed, zeros),
        random_rows(states, vocab_size, spread, seed + 1, zeros),
        random_rows(1, states, 1.0, seed + 2)[0],
        eos_token_id=0,
        fingerprint="f" * 64,
    )


def hmms(max_states: int = 6, max_vocab: int = 40) -> SearchStrategy[HMM]:
    return st.builds(
        random_hmm,
        states=st.integers(1, max_states),
        vocab_size=st.integers(1, max_vocab),
        spread=st.floats(0.0, 6.0),
        seed=st.integers(0, 2**20),
        zeros=st.sampled_from([0.0, 0.5]),
    )


def stochastic_rows(max_rows: int = 5, max_size: int = 60) -> SearchStrategy[Tensor]:
    return st.builds(
        random_rows,
        states=st.integers(1, max_rows),
        size=st.integers(1, max_size),
        spread=st.floats(0.0, 6.0),
        seed=st.integers(0, 2**20),
        zeros=st.sampled_from([0.0, 0.5]),
    )


@st.composite
def hard_rows(draw: st.DrawFn) -> Tensor:
    """`stochastic_rows` in float32 or float64, with some rows that are certain, flat, or tiny beside one spike."""
    rows = draw(stochastic_rows())
    states, size = rows.shape
    spike = 1 - 10.0 ** draw(st.integers(-7, -1))
    shapes = {
        "certain": torch.nn.functional.one_hot(torch.tensor(draw(st.integers(0, size - 1))), size).float(),
        "flat": torch.full((size,), 1 / size),
        "spiky": torch.tensor([1.0] if size == 1 else [spike] + [(1 - spike) / (size - 1)] * (size - 1)),
    }
    for state in range(states):
        shape = draw(st.sampled_from(["as drawn", *shapes]))
        rows[state] = shapes.get(shape, rows[state])
    return rows.double() / rows.double().sum(1, keepdim=True) if draw(st.booleans()) else rows
