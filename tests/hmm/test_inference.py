"""Inference against the sum over all paths."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.hmm_oracle import path_probabilities, random_hmm
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from ctrlg.errors import VocabularyError
from ctrlg.hmm import HMM, Parameters, expected_counts, filter_tokens, smooth_tokens
from ctrlg.matrices import DenseMatrix

STATES, VOCABULARY = 3, 5

sequences = st.lists(st.integers(-1, VOCABULARY - 1), min_size=1, max_size=5)
seeds = st.integers(0, 10_000)


def assert_near(actual: Tensor, expected: Tensor) -> None:
    assert_close(actual, expected, rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(seed=seeds, tokens=sequences)
def test_log_likelihood_is_the_sum_over_paths(seed: int, tokens: list[int]) -> None:
    hmm = random_hmm(STATES, VOCABULARY, seed)
    expected = math.log(sum(path_probabilities(hmm, tokens).values()))
    assert_close(float(hmm.log_likelihood(torch.tensor([tokens]))), expected, rtol=1e-5, atol=1e-5)
    assert_close(
        float(filter_tokens(hmm.inference_parameters, torch.tensor([tokens])).log_likelihood),
        expected,
        rtol=1e-5,
        atol=1e-5,
    )


@settings(deadline=None, max_examples=40)
@given(seed=seeds, tokens=sequences)
def test_predictive_is_the_next_state_given_the_past(seed: int, tokens: list[int]) -> None:
    hmm = random_hmm(STATES, VOCABULARY, seed)
    joint = path_probabilities(hmm, [*tokens, -1])
    expected = torch.zeros(STATES, dtype=torch.double)
    for path, value in joint.items():
        expected[path[-1]] += value
    predictive = filter_tokens(hmm.inference_parameters, torch.tensor([tokens])).predictive[0, -1]
    assert_near(predictive.double(), expected / expected.sum())


@settings(deadline=None, max_examples=40)
@given(seed=seeds, tokens=sequences)
def test_posteriors_and_expected_counts_are_those_of_the_paths(seed: int, tokens: list[int]) -> None:
    hmm = random_hmm(STATES, VOCABULARY, seed)
    joint = path_probabilities(hmm, tokens)
    total = sum(joint.values())
    posterior = torch.zeros(len(tokens), STATES, dtype=torch.double)
    transition = torch.zeros(STATES, STATES, dtype=torch.double)
    emission = torch.zeros(STATES, VOCABULARY, dtype=torch.double)
    for path, value in joint.items():
        for t, state in enumerate(path):
            posterior[t, state] += value / total
            if tokens[t] >= 0:
                emission[state, tokens[t]] += value / total
            if t:
                transition[path[t - 1], state] += value / total
    batch = torch.tensor([tokens])
    assert_near(smooth_tokens(hmm.inference_parameters, batch).posterior[0].double(), posterior)
    counts = expected_counts(hmm.inference_parameters, batch)
    assert_near(counts.initial.double(), posterior[0])
    assert_near(counts.transition.double(), transition)
    assert_near(counts.emission.double(), emission[:, counts.tokens])


def test_counts_of_a_batch_are_the_sum_of_its_rows() -> None:
    hmm = random_hmm(4, 6, seed=1)
    tokens = torch.randint(-1, 6, (7, 5), generator=torch.Generator().manual_seed(2))
    whole = expected_counts(hmm.inference_parameters, tokens)
    rows = [expected_counts(hmm.inference_parameters, row[None]) for row in tokens]
    assert_close(whole.transition, torch.stack([row.transition for row in rows]).sum(0))
    assert_close(whole.log_likelihood, torch.stack([row.log_likelihood for row in rows]).sum())


def test_an_impossible_sequence_counts_for_nothing_and_makes_no_nan() -> None:
    emission = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    hmm = HMM.of_parameters(torch.full((2, 2), 0.5), emission, torch.tensor([0.5, 0.5]), 0)
    tokens = torch.tensor([[0, 1, 0], [0, 0, 0]])
    assert hmm.log_likelihood(tokens).tolist() == [-math.inf, 0.0]
    counts = expected_counts(hmm.inference_parameters, tokens)
    assert counts.initial.sum() == 1
    assert not any(field.isnan().any() for field in counts if field is not None)


def test_a_long_sequence_neither_underflows_nor_drifts() -> None:
    hmm = random_hmm(3, 50, seed=3)
    tokens = torch.randint(0, 50, (2, 3000), generator=torch.Generator().manual_seed(0))
    forward = filter_tokens(hmm.inference_parameters, tokens)
    assert forward.log_likelihood.isfinite().all()
    assert_close(forward.predictive.sum(-1), torch.ones(2, 3001))


def test_samples_follow_the_model() -> None:
    hmm = random_hmm(3, 4, seed=5)
    drawn = hmm.sample(20_000, 2, torch.Generator().manual_seed(0))
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    expected = hmm.log_likelihood(pairs).exp() * len(drawn)
    observed = torch.bincount(drawn[:, 0] * 4 + drawn[:, 1], minlength=16)
    chi_square = float(((observed - expected) ** 2 / expected).sum())
    assert chi_square < 37.7  # 99.9 % of chi-square with 15 degrees of freedom


def test_the_same_seed_draws_the_same_samples() -> None:
    hmm = random_hmm(3, 4, seed=5)
    first, second = (hmm.sample(50, 6, torch.Generator().manual_seed(9)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("token", [5, -2, 1_000_000])
def test_foreign_tokens_are_refused(token: int) -> None:
    hmm = random_hmm(STATES, VOCABULARY, seed=0)
    with pytest.raises(VocabularyError, match=str(token)):
        hmm.log_likelihood(torch.tensor([[0, token]]))


def test_float64_parameters_are_computed_in_float64() -> None:
    hmm = random_hmm(3, 4, seed=6)
    exact = Parameters(DenseMatrix(hmm.alpha_exp.double()), DenseMatrix(hmm.beta.double().exp()), hmm.initial.double())
    assert filter_tokens(exact, torch.tensor([[1, 2]])).predictive.dtype == torch.float64
