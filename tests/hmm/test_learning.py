"""EM: never down, equal to hmmlearn, and what pseudocounts and priors mean."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from helpers.hmm_oracle import random_hmm
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from ctrlg.errors import ArgumentError
from ctrlg.hmm import HMM, Prior, log_likelihood, maximize
from ctrlg.hmm.learning import TotalCounts, total_counts


def em_step(hmm: HMM, tokens: torch.Tensor) -> HMM:
    return HMM.of_parameters(*maximize(total_counts(hmm.inference_parameters, [tokens])), hmm.eos_token_id)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), states=st.integers(1, 4))
def test_likelihood_never_falls(seed: int, states: int) -> None:
    hmm = random_hmm(states, 6, seed)
    tokens = torch.randint(-1, 6, (8, 7), generator=torch.Generator().manual_seed(seed))
    values = []
    for _ in range(5):
        values.append(float(hmm.log_likelihood(tokens).double().sum()))
        hmm = em_step(hmm, tokens)
    assert all(later >= earlier - 1e-3 for earlier, later in itertools.pairwise(values))


def test_one_step_equals_hmmlearn() -> None:
    learn = pytest.importorskip("hmmlearn.hmm")
    hmm = random_hmm(4, 6, seed=11)
    tokens = torch.randint(0, 6, (9, 8), generator=torch.Generator().manual_seed(4))
    other = learn.CategoricalHMM(n_components=4, n_iter=1, tol=-np.inf, init_params="", n_features=6)
    other.startprob_ = hmm.initial.double().numpy()
    other.startprob_ /= other.startprob_.sum()
    for name, matrix in (("transmat_", hmm.alpha_exp), ("emissionprob_", hmm.beta.exp())):
        rows = matrix.double().numpy()
        setattr(other, name, rows / rows.sum(1, keepdims=True))
    other.fit(tokens.numpy().reshape(-1, 1), [8] * 9)
    ours = em_step(hmm, tokens)
    assert_close(ours.alpha_exp.double(), torch.from_numpy(other.transmat_), rtol=1e-4, atol=1e-6)
    assert_close(ours.beta.double().exp(), torch.from_numpy(other.emissionprob_), rtol=1e-4, atol=1e-6)
    assert_close(ours.initial.double(), torch.from_numpy(other.startprob_), rtol=1e-4, atol=1e-6)


def test_pseudocount_is_spread_over_the_row_and_empty_rows_are_uniform() -> None:
    counts = TotalCounts(torch.tensor([3.0, 1.0]), torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.zeros(4, 2), 0.0, 4)
    estimate = maximize(counts, pseudocount=1.0)
    assert_close(estimate.initial, torch.tensor([0.7, 0.3]))
    assert_close(estimate.transition, torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    assert_close(maximize(counts).emission, torch.full((2, 4), 0.25))


def test_a_prior_counts_as_so_many_observations() -> None:
    counts = TotalCounts(torch.ones(1), torch.ones(1, 1), torch.tensor([[2.0], [0.0]]), 0.0, 1)
    prior = Prior(torch.tensor([[0.0, 1.0]]), strength=6.0)
    assert_close(maximize(counts, prior=prior).emission, torch.tensor([[0.25, 0.75]]))


@pytest.mark.parametrize(("pseudocount", "strength"), [(-1.0, 0.0), (0.0, -2.0)])
def test_negative_counts_are_refused(pseudocount: float, strength: float) -> None:
    counts = TotalCounts(torch.ones(1), torch.ones(1, 1), torch.ones(2, 1), 0.0, 1)
    with pytest.raises(ArgumentError, match="negative"):
        maximize(counts, pseudocount, Prior(torch.tensor([[0.5, 0.5]]), strength))


@pytest.mark.parametrize("pseudocount", [0.0, 0.001])
def test_consumed_counts_give_the_same_estimate_in_their_own_memory(pseudocount: float) -> None:
    hmm = random_hmm(4, 6, seed=7)
    tokens = torch.randint(-1, 5, (9, 8), generator=torch.Generator().manual_seed(1))
    prior = Prior(torch.softmax(torch.randn(4, 6, generator=torch.Generator().manual_seed(2)), 1), strength=0.5)
    counts = total_counts(hmm.inference_parameters, [tokens])
    before = counts.emission.clone()
    kept = maximize(counts, pseudocount, prior)
    assert torch.equal(counts.emission, before)
    consumed = maximize(counts, pseudocount, prior, consume=True)
    assert all(torch.equal(ours, other) for ours, other in zip(kept, consumed, strict=True))
    assert consumed.emission.data_ptr() == counts.emission.data_ptr()


def test_steps_without_logarithms_end_at_the_same_model() -> None:
    hmm = random_hmm(4, 6, seed=8)
    tokens = torch.randint(0, 6, (9, 8), generator=torch.Generator().manual_seed(3))
    parameters = hmm.inference_parameters
    for _ in range(3):
        hmm = em_step(hmm, tokens)
        parameters = maximize(total_counts(parameters, [tokens]), consume=True).parameters
    assert_close(parameters.emission.to_dense(), hmm.beta.exp(), rtol=1e-4, atol=1e-6)
    assert_close(parameters.transition.to_dense(), hmm.alpha_exp.data, rtol=1e-4, atol=1e-6)
    assert_close(log_likelihood(parameters, tokens), hmm.log_likelihood(tokens), rtol=1e-4, atol=1e-4)
