"""Soft emission counts: against the whole distribution, and as a step that brings two models closer."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
import torch
from helpers.sampling_job import EOS, VOCABULARY, tiny_language_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from ctrlg.distillation.em.step import EMSettings, em_counts
from ctrlg.distillation.sampling.next_tokens import (
    SUFFIX,
    credit_in_torch,
    credit_next_tokens,
    describe_next_tokens,
    read_next_tokens,
    sample_next_tokens,
    write_next_tokens,
)
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.storage import write_samples
from ctrlg.errors import ArgumentError, DataError
from ctrlg.hmm import HMM, filter_tokens, total_counts
from ctrlg.kernels import threads
from ctrlg.matrices import DenseMatrix
from studies.data.teacher_forced import read_sentences_with

POSITIONS, STATES = 40, 3


def hidden_states() -> torch.Tensor:
    return torch.randn(POSITIONS, 16, generator=torch.Generator().manual_seed(1))


HEAD = tiny_language_model().get_output_embeddings()


def distributions() -> torch.Tensor:
    return HEAD(hidden_states()).softmax(1).detach()


def draws(count: int, seed: int = 0, vocab_size: int = VOCABULARY) -> torch.Tensor:
    return sample_next_tokens(HEAD, hidden_states(), count, vocab_size, torch.Generator().manual_seed(seed))


def shares(drawn: torch.Tensor) -> torch.Tensor:
    """How often each token was drawn, [positions, V]."""
    one_hot = torch.nn.functional.one_hot(drawn.long(), VOCABULARY).float()
    return one_hot.mean(1)


@settings(deadline=None, max_examples=20)
@given(count=st.integers(1, 50), seed=st.integers(0, 1000))
def test_each_token_is_drawn_as_often_as_its_probability_says_to_within_one(count: int, seed: int) -> None:
    drawn = draws(count, seed)
    assert ((shares(drawn) - distributions()).abs() < 1 / count + 1e-5).all()
    assert (drawn.diff(dim=1) >= 0).all()


def test_draws_are_unbiased() -> None:
    mean = torch.stack([shares(draws(2, seed)) for seed in range(800)]).mean(0)
    assert_close(mean, distributions(), atol=0.06, rtol=0)


def test_logits_beyond_the_vocabulary_are_not_drawn() -> None:
    drawn = draws(64, vocab_size=5)
    assert int(drawn.max()) < 5
    expected = distributions()[:, :5]
    assert_close(shares(drawn)[:, :5], expected / expected.sum(1, keepdim=True), atol=1 / 64 + 1e-5, rtol=0)


def credited(drawn: torch.Tensor, emission: torch.Tensor, predictive: torch.Tensor) -> tuple[torch.Tensor, float]:
    counts = torch.zeros(emission.shape[1], emission.shape[0], dtype=torch.float64)
    return counts, float(credit_next_tokens(counts, DenseMatrix(emission), predictive, drawn))


def random_rows(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(1)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), count=st.integers(1, 40))
def test_credits_are_those_of_the_formula(seed: int, count: int) -> None:
    emission, predictive = random_rows(STATES, VOCABULARY, seed), random_rows(POSITIONS, STATES, seed + 1)
    drawn = torch.randint(VOCABULARY, (POSITIONS, count), generator=torch.Generator().manual_seed(seed))
    counts, value = credited(drawn, emission, predictive)
    q = shares(drawn).double()
    probability = predictive @ emission
    assert_close(counts, (emission * (predictive.T @ (q / probability))).T)
    assert value == pytest.approx(float((q * probability.log()).sum()))
    assert float(counts.sum()) == pytest.approx(POSITIONS)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 40),
    states=st.integers(1, 70),
    threads_used=st.integers(1, 3),
    ascending=st.booleans(),
)
def test_the_kernel_credits_as_torch_does(
    seed: int, count: int, states: int, threads_used: int, ascending: bool
) -> None:
    emission = random_rows(states, VOCABULARY, seed).float().T.contiguous().T
    emission[:, 3] = 0  # a token that cannot be emitted
    predictive = random_rows(POSITIONS, states, seed + 1).float()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(VOCABULARY, (POSITIONS, count), generator=generator, dtype=torch.int32)
    drawn = drawn.sort(1).values if ascending else drawn
    before = torch.rand(VOCABULARY, states, generator=generator)
    found, expected = before.clone(), before.clone()
    with mock.patch.object(threads, "parts_of", lambda work: threads_used):
        value = credit_next_tokens(found, DenseMatrix(emission), predictive, drawn)
    expected_value = credit_in_torch(emission.T, predictive, drawn, expected)
    assert_close(found, expected)
    assert_close(value, expected_value)


def test_with_predictive_states_held_steps_never_raise_the_cross_entropy() -> None:
    emission, predictive = random_rows(STATES, VOCABULARY, 5), random_rows(POSITIONS, STATES, 6)
    drawn = draws(32)
    values = []
    for _ in range(6):
        counts, value = credited(drawn, emission, predictive)
        values.append(value)
        emission = (counts / counts.sum(0)).T.contiguous()
    assert values == sorted(values)


def test_a_token_the_model_cannot_emit_counts_for_nothing() -> None:
    emission = torch.zeros(STATES, VOCABULARY, dtype=torch.float64)
    emission[:, EOS] = 1
    counts, value = credited(torch.tensor([[EOS, 3]]), emission, torch.full((1, STATES), 1 / STATES).double())
    assert float(counts.sum()) == pytest.approx(0.5)
    assert value < -100


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ArgumentError, match="number is 0"):
        sample_next_tokens(HEAD, hidden_states(), 0, VOCABULARY, torch.Generator())
    with pytest.raises(DataError, match="NaN"):
        sample_next_tokens(HEAD, torch.full((2, 16), float("nan")), 2, VOCABULARY, torch.Generator())


def sequences() -> torch.Tensor:
    """Random rows, end-of-text repeated after its first."""
    rows = torch.randint(VOCABULARY, (30, 6), generator=torch.Generator().manual_seed(3))
    return rows.masked_fill((rows == EOS).cumsum(1) > 0, EOS)


@settings(deadline=None, max_examples=10)
@given(batch_size=st.integers(1, 40))
def test_an_em_step_credits_emissions_with_draws_and_moves_as_ever(batch_size: int) -> None:
    torch.manual_seed(0)
    model = HMM(STATES, VOCABULARY, EOS).double()
    rows = sequences()
    mask = token_mask(rows, EOS)
    drawn = torch.randint(
        VOCABULARY, (int(mask.sum()), 5), generator=torch.Generator().manual_seed(4), dtype=torch.int32
    )
    soft = em_counts(model.inference_parameters, rows, EOS, EMSettings(batch_size), next_tokens=drawn)
    hard = em_counts(model.inference_parameters, rows, EOS, EMSettings(batch_size))
    assert_close(soft.initial, hard.initial)
    assert_close(soft.transition, hard.transition)
    predictive = filter_tokens(model.inference_parameters, rows).predictive[:, :-1][mask]
    expected = torch.zeros(VOCABULARY, STATES, dtype=torch.float64)
    credit_next_tokens(expected, model.emission, predictive, drawn)
    assert_close(soft.emission, expected)
    assert float(soft.emission.sum()) == pytest.approx(int(mask.sum()))


def test_where_every_draw_is_the_token_itself_only_the_future_is_left_out() -> None:
    torch.manual_seed(0)
    model = HMM(STATES, VOCABULARY, EOS).double()
    rows = sequences()[:, :1]
    soft = em_counts(model.inference_parameters, rows, EOS, EMSettings(8), next_tokens=rows.int())
    assert_close(soft.emission, total_counts(model.inference_parameters, [rows]).emission)


def test_draws_are_kept_beside_their_sequences(tmp_path: Path) -> None:
    file, mask = tmp_path / "data.train.0", token_mask(sequences(), EOS)
    drawn = torch.randint(VOCABULARY, (int(mask.sum()), 4), dtype=torch.int32)
    write_next_tokens(file, drawn)
    assert_close(read_next_tokens(file, mask, VOCABULARY), drawn)
    with pytest.raises(DataError, match=f"outside \\[0, {int(drawn.max())}\\)"):
        read_next_tokens(file, mask, int(drawn.max()))
    with pytest.raises(DataError, match="predicted tokens"):
        read_next_tokens(file, mask[:-1], VOCABULARY)
    with pytest.raises(DataError, match=f"no such data file: .*{SUFFIX}"):
        read_next_tokens(tmp_path / "other", mask, VOCABULARY)


def test_draws_of_other_settings_are_not_taken_for_these(tmp_path: Path) -> None:
    file = tmp_path / "data.train.0"
    samples = read_sentences_with(tiny_language_model(), [[EOS, 3, 5, EOS], [EOS, 7, EOS]], 4, EOS)
    write_samples(file, samples)
    described = (file, f"{file}.embeddings", HEAD)
    assert describe_next_tokens(*described, 4, VOCABULARY, EOS, seed=0)
    assert not describe_next_tokens(*described, 4, VOCABULARY, EOS, seed=0)
    for draws, seed in ((8, 0), (4, 1)):
        with pytest.raises(ArgumentError, match="holds data"):
            describe_next_tokens(*described, draws, VOCABULARY, EOS, seed=seed)
