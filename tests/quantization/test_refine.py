from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from helpers.random_inputs.hmms import random_hmm, random_rows
from hypothesis import given, settings
from torch import Tensor

from ctrlg.errors import ArgumentError, DataError, VocabularyError
from ctrlg.hmm import HMM
from ctrlg.inspection import kl_sequence
from ctrlg.matrices import CompressedMatrix
from ctrlg.quantization import QuantizedHMM, log_norm_q_rows, quantize
from ctrlg.quantization.refine import PriorModel, RefineStep, refine, refine_step
from ctrlg.quantization.restricted import (
    CodedRows,
    EntryCounts,
    code_counts,
    coded_rows,
    compressed,
    entry_counts,
    fit_row_weights,
    restricted_maximum,
)
from ctrlg.storage.layouts import arrange

COMPRESSIONS = [("norm-q", 8), ("norm-q", 3), ("log-norm-q", 1), ("log-norm-q", 3)]


def coded(seed: int, bits: int, states: int = 4, size: int = 30) -> tuple[CodedRows, Tensor]:
    """Quantised random rows, and counts [H, N] that they were not made for."""
    rows = coded_rows(arrange(log_norm_q_rows(random_rows(states, size, 2.0, seed), bits, threshold=1e-3), bits))
    return rows, 50 * random_rows(states, size, 1.5, seed + 1).double()


def dense(rows: CodedRows) -> Tensor:
    grid = torch.zeros(len(rows.scale), rows.size, dtype=torch.float64)
    grid[rows.row, rows.column] = rows.codebook[rows.codes]
    return rows.scale[:, None] * grid + rows.background[:, None]


def explained(rows: CodedRows, counts: Tensor) -> float:
    return float(torch.special.xlogy(counts, dense(rows)).sum())


def stored(matrix: CompressedMatrix) -> Tensor:
    rows = coded_rows(matrix)
    return torch.stack([rows.row, rows.column])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**20), bits=st.integers(1, 4))
def test_row_weights_are_where_a_fine_search_finds_the_maximum(seed: int, bits: int) -> None:
    rows, counts = coded(seed, bits)
    best = fit_row_weights(rows, code_counts(rows, entry_counts(rows, counts)))
    grid = torch.zeros(4, 30, dtype=torch.float64)
    grid[rows.row, rows.column] = rows.codebook[rows.codes]
    for h in range(4):
        if not grid[h].any():
            assert float(best.background[h]) == pytest.approx(1 / 30)
            continue
        weights = torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None]
        candidates = (1 - weights) * grid[h] / grid[h].sum() + weights / 30
        searched = torch.special.xlogy(counts[h], candidates).sum(1).max()
        reached = torch.special.xlogy(counts[h], dense(best)[h]).sum()
        assert float(reached) >= float(searched) - 1e-9


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**20), bits=st.integers(1, 3))
def test_the_m_step_ends_where_a_general_optimiser_cannot_improve(seed: int, bits: int) -> None:
    """With counts near those the codes were made for: where levels run together, turns end at saddle points too."""
    rows, _ = coded(seed, bits)
    noise = torch.randn(4, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    counts = 50 * random_rows(4, 30, 2.0, seed).double() * (0.3 * noise).exp()
    best = restricted_maximum(rows, entry_counts(rows, counts), rounds=100)
    levels = best.codebook[1:].log().clone().requires_grad_()
    weight = (best.background * best.size).clamp(1e-12, 1 - 1e-12)
    logit = torch.logit(weight).requires_grad_()

    def loss() -> Tensor:
        codebook = torch.cat([levels.new_zeros(1), levels.exp()])
        grid = torch.zeros(4, 30, dtype=torch.float64).index_put((best.row, best.column), codebook[best.codes])
        sums = grid.sum(1, keepdim=True)
        shape = torch.where(sums > 0, grid / torch.where(sums > 0, sums, 1), 1 / 30)
        mixed = logit.sigmoid()[:, None]
        return -torch.special.xlogy(counts, (1 - mixed) * shape + mixed / 30).sum()

    optimiser = torch.optim.LBFGS([levels, logit], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)
    assert explained(best, counts) >= -float(loss().detach()) - 1e-4 * float(counts.sum())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**20), bits=st.integers(1, 5))
def test_an_m_step_never_lowers_its_objective_and_keeps_rows_normalised(seed: int, bits: int) -> None:
    rows, counts = coded(seed, bits)
    before = explained(rows, counts)
    for _ in range(4):
        rows = restricted_maximum(rows, entry_counts(rows, counts), rounds=1)
        after = explained(rows, counts)
        assert after >= before - 1e-6 * abs(before)  # the first rows are rounded to float32
        torch.testing.assert_close(dense(rows).sum(1), torch.ones(4).double())
        assert float(dense(rows).min()) >= 0
        before = after


def test_a_row_without_counts_keeps_its_background() -> None:
    rows, counts = coded(3, 3)
    counts[1] = 0
    best = restricted_maximum(rows, entry_counts(rows, counts))
    assert float(best.background[1]) == pytest.approx(float(rows.background[1]))
    torch.testing.assert_close(dense(best).sum(1), torch.ones(4).double())


def test_levels_that_change_places_are_sorted_with_their_codes() -> None:
    rows, _ = coded(5, 3)
    crossed = rows._replace(codebook=torch.cat([rows.codebook[:1], rows.codebook[1:].flip(0)]))
    matrix = compressed(crossed, "sparse")
    assert bool((matrix.codebook.diff() >= 0).all())
    sums = torch.zeros(4).double().index_add_(0, rows.row, crossed.codebook[rows.codes])
    scale = torch.where(sums > 0, (1 - rows.background * rows.size) / torch.where(sums > 0, sums, 1), 0)
    torch.testing.assert_close(matrix.to_dense().double(), dense(crossed._replace(scale=scale)), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_a_matrix_survives_the_way_through_its_entries(layout: str) -> None:
    matrix = arrange(log_norm_q_rows(random_rows(5, 40, 3.0, 0), 3, threshold=1e-3), 3, layout)
    again = compressed(coded_rows(matrix), layout)
    assert again.layout == layout
    torch.testing.assert_close(again.to_dense(), matrix.to_dense(), rtol=1e-5, atol=1e-8)


def test_counts_add_up() -> None:
    first, second = (EntryCounts(torch.full((3,), x), torch.full((2,), x)) for x in (1.0, 10.0))
    total = first.plus(second, 0.5)
    assert total.stored.tolist() == [6.0] * 3
    assert total.total.tolist() == [6.0] * 2


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**20), compression=st.sampled_from(COMPRESSIONS))
def test_without_a_prior_the_likelihood_never_falls(seed: int, compression: tuple[str, int]) -> None:
    hmm = random_hmm(4, 20, spread=2.0, seed=seed)
    model = quantize(hmm, *compression)
    tokens = hmm.sample(40, 6, torch.Generator().manual_seed(seed))
    scores = []
    for _ in range(5):
        model, score = refine_step(model, tokens, PriorModel(hmm.inference_parameters, 0.0))
        scores.append(score)
        assert float(model.emission.to_dense().min()) >= 0
        torch.testing.assert_close(model.emission.to_dense().double().sum(1), torch.ones(4).double(), rtol=0, atol=1e-5)
    assert all(after >= before - 1e-4 * abs(before) for before, after in pairwise(scores))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_pattern_and_bytes_do_not_grow(compression: tuple[str, int]) -> None:
    hmm = random_hmm(6, 60, spread=2.5, seed=1)
    before = quantize(hmm, *compression)
    after = refine(before, hmm, 3, sequences=300, length=8)
    assert torch.equal(stored(before.emission), stored(after.emission))
    assert torch.equal(stored(before.transition), stored(after.transition))
    assert after.packed_nbytes <= before.packed_nbytes
    assert (after.method, after.bits, after.fingerprint) == (before.method, before.bits, before.fingerprint)


def test_it_brings_norm_q_nearer_to_the_float_hmm() -> None:
    hmm = random_hmm(8, 120, spread=2.5, seed=2)
    before = quantize(hmm, "norm-q", 4)
    after = refine(before, hmm, 4, sequences=1000, length=10)
    assert kl_sequence(hmm, after, length=10).mean < 0.7 * kl_sequence(hmm, before, length=10).mean


def test_it_reports_every_step_and_returns_the_one_that_explains_held_out_sequences_best() -> None:
    hmm = random_hmm(5, 40, spread=2.0, seed=3)
    steps: list[RefineStep] = []
    start = quantize(hmm, "norm-q", 4)
    tokens = hmm.sample(200, 6, torch.Generator().manual_seed(0))
    refined = refine(start, tokens, 4, seed=5, report=steps.append)
    assert [step.step for step in steps] == [0, 1, 2, 3, 4]
    order = torch.randperm(200, generator=torch.Generator().manual_seed(5))
    held_out = float(refined.log_likelihood(tokens[order[:20]]).mean())
    assert held_out == pytest.approx(max(step.held_out for step in steps), rel=1e-4)
    assert held_out > steps[0].held_out


def test_levels_that_only_nearly_uniform_rows_use_do_not_drift_off() -> None:
    hmm = random_hmm(5, 40, spread=2.0, seed=3)
    for seed in range(5):
        model = quantize(hmm, "log-norm-q", 8)
        tokens = hmm.sample(5, 4, torch.Generator().manual_seed(seed))
        for _ in range(5):
            model, score = refine_step(model, tokens, PriorModel(hmm.inference_parameters, 0.0))
            assert math.isfinite(score)
            assert float(model.emission.codebook[1:].min()) > 0


def test_a_step_that_overfits_is_not_returned() -> None:
    hmm = random_hmm(5, 40, spread=1.0, seed=4)
    start = quantize(hmm, "log-norm-q", 6, threshold=0.0)
    tokens = torch.cat([torch.zeros(1, 8, dtype=torch.long), torch.full((1, 8), 7)])
    assert refine(start, tokens, 3, prior_strength=0.0) is start


def test_a_refined_model_survives_saving(tmp_path: Path) -> None:
    hmm = random_hmm(6, 60, spread=2.5, seed=5)
    model = refine(quantize(hmm, "log-norm-q", 3), hmm, 3, sequences=300, length=8)
    model.save_pretrained(tmp_path)
    again = QuantizedHMM.from_pretrained(tmp_path)
    assert torch.equal(again.emission.to_dense(), model.emission.to_dense())
    assert torch.equal(again.transition.to_dense(), model.transition.to_dense())
    assert torch.equal(again.initial, model.initial)


def test_it_is_reproducible_by_seed() -> None:
    hmm = random_hmm(4, 30, seed=6)
    start = quantize(hmm, "norm-q", 4)
    first, second, other = (refine(start, hmm, 2, sequences=50, length=5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.emission.to_dense(), second.emission.to_dense())
    assert not torch.equal(first.emission.to_dense(), other.emission.to_dense())


def test_every_token_stays_possible_with_a_prior() -> None:
    hmm = random_hmm(4, 30, seed=7)
    refined = refine(quantize(hmm, "norm-q", 2), torch.zeros(20, 4, dtype=torch.long), 5)
    assert float(refined.emission.to_dense().min()) > 0


def test_an_hmm_of_another_vocabulary_is_refused() -> None:
    start = quantize(random_hmm(4, 30), "norm-q", 4)
    with pytest.raises(VocabularyError, match="31 tokens"):
        refine(start, random_hmm(4, 31))
    foreign = random_hmm(4, 30)
    foreign.fingerprint = "e" * 64
    with pytest.raises(VocabularyError, match="fingerprint"):
        refine(start, foreign)
    with pytest.raises(VocabularyError, match="30"):
        refine(start, torch.full((3, 4), 30))


def test_a_teacher_may_have_another_number_of_states_but_a_prior_may_not() -> None:
    start, larger = quantize(random_hmm(4, 30), "norm-q", 4), random_hmm(6, 30)
    assert refine(start, larger, 1, sequences=20, length=4).hidden_states == 4
    with pytest.raises(ArgumentError, match="6 states"):
        refine(start, torch.zeros(4, 4, dtype=torch.long), prior=larger)


@pytest.mark.parametrize("data", [torch.zeros(0, 5), torch.zeros(1, 5), torch.zeros(4, 0), torch.full((4, 5), -1)])
def test_data_that_holds_too_little_is_refused(data: Tensor) -> None:
    with pytest.raises(DataError):
        refine(quantize(random_hmm(4, 30), "norm-q", 4), data.long())


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"prior_strength": float("nan")},
        {"prior_strength": -1.0},
        {"sequences": 1},
        {"length": 0},
        {"batch_size": 0},
    ],
)
def test_arguments_out_of_range_are_refused(wrong: dict) -> None:
    hmm = random_hmm(4, 30)
    with pytest.raises(ArgumentError):
        refine(quantize(hmm, "norm-q", 4), hmm, **wrong)


def test_parameters_and_tokens_that_are_none_are_refused() -> None:
    hmm = random_hmm(4, 30)
    start = quantize(hmm, "norm-q", 4)
    broken = HMM(4, 30, 0)
    broken.update_params(torch.full((4, 4), torch.nan), broken.beta, broken.gamma)
    with pytest.raises(ArgumentError):
        refine(start, broken)
    with pytest.raises(VocabularyError):
        refine(start, torch.full((3, 4), torch.nan))
    with pytest.raises(ArgumentError, match="list"):
        refine(start, [[1, 2]])  # type: ignore[arg-type]


def test_a_coded_initial_distribution_is_refined_within_its_codes() -> None:
    hmm = random_hmm(9, 40)
    start = quantize(hmm, "norm-q", 2)
    model = refine(start, hmm, 3, sequences=400, length=6)
    assert start.coded_initial is not None and model.coded_initial is not None
    assert torch.equal(model.coded_initial.codes, start.coded_initial.codes)
    assert model.packed_nbytes == start.packed_nbytes
    assert float(model.initial.sum()) == pytest.approx(1, abs=1e-5)
    assert not torch.equal(model.initial, start.initial)
    divergence = [float((hmm.initial * (hmm.initial / each.initial).log()).sum()) for each in (start, model)]
    assert divergence[1] < divergence[0]
