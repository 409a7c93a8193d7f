"""The E-step in buffers, groups and other dtypes against the one that is spelled out."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.hmm_oracle import small_expected_counts
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from ctrlg.errors import VocabularyError
from ctrlg.hmm import CountSums, Parameters, expected_counts, filter_tokens, log_likelihood, smooth_tokens, total_counts
from ctrlg.hmm.expectation import joined
from ctrlg.matrices import CompressedMatrix, DenseMatrix

VOCABULARY = 7


def rows(generator: torch.Generator, *shape: int, zeros: float = 0.0) -> Tensor:
    """Distributions with a share of zeros; the first entry of each is never zero."""
    values = torch.rand(*shape, generator=generator, dtype=torch.double).pow(3) + 1e-3
    kept = torch.rand(*shape, generator=generator) >= zeros
    kept[..., 0] = True
    return torch.nn.functional.normalize(values * kept, p=1, dim=-1)


def dense(probabilities: Tensor, dtype: torch.dtype) -> DenseMatrix:
    return DenseMatrix(probabilities.to(dtype))


def compressed(probabilities: Tensor, dtype: torch.dtype) -> CompressedMatrix:
    """A grid of 1/255 with the rest of each row in its first entry; every code is stored."""
    codes = (probabilities * 255).floor()
    codes[:, 0] += 255 - codes.sum(1)
    states = len(probabilities)
    scale, background = torch.full((states,), 1 / 255), torch.zeros(states)
    return CompressedMatrix.from_codes(codes.to(torch.uint8), scale, background, torch.arange(256.0))


def model_of(seed: int, states: int, storage: str, dtype: torch.dtype, zeros: float) -> Parameters:
    generator = torch.Generator().manual_seed(seed)
    make = dense if storage == "dense" else compressed
    return Parameters(
        make(rows(generator, states, states, zeros=zeros), dtype),
        make(rows(generator, states, VOCABULARY, zeros=zeros), dtype),
        rows(generator, states, zeros=zeros).to(dtype),
    )


models = st.builds(
    model_of,
    seed=st.integers(0, 10_000),
    states=st.integers(1, 5),
    storage=st.sampled_from(["dense", "compressed"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    zeros=st.sampled_from([0.0, 0.6]),
)
ragged = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(0, 10_000)), min_size=1, max_size=5)


def tokens_of(count: int, length: int, seed: int) -> Tensor:
    return torch.randint(-1, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))


def tolerance_of(model: Parameters) -> float:
    """Compressed matrices decode columns in float32 whatever the dtype."""
    if model.initial.dtype == torch.float32:
        return 2e-4
    return 1e-10 if isinstance(model.emission, DenseMatrix) else 1e-5


def exact(model: Parameters) -> Parameters:
    """`to_dense` is float32; the reference gets the very numbers of float64 parameters."""
    if model.initial.dtype == torch.float32:
        return model
    transition, emission = (_Exact(m.column_block(0, m.shape[1], torch.double)) for m in model[:2])
    return Parameters(transition, emission, model.initial)


class _Exact(DenseMatrix):
    def to_dense(self) -> Tensor:
        return self.probabilities


@settings(deadline=None, max_examples=80)
@given(model=models, sizes=ragged, group_bytes=st.sampled_from([0, 500, 2**20]))
def test_counts_of_ragged_batches_are_those_spelled_out(
    model: Parameters, sizes: list[tuple[int, int, int]], group_bytes: int
) -> None:
    batches = [tokens_of(*size) for size in sizes]
    small = [small_expected_counts(exact(model), tokens) for tokens in batches]
    total = total_counts(model, batches, group_bytes=group_bytes)
    tolerance = tolerance_of(model)

    def assert_near(actual: Tensor, expected: list[Tensor]) -> None:
        assert_close(actual.double(), sum(expected[1:], expected[0]), rtol=tolerance, atol=tolerance)

    assert_near(total.initial, [counts.initial for counts in small])
    assert_near(total.transition, [counts.transition for counts in small])
    assert_near(total.emission, [counts.emission.T for counts in small])
    expected = sum(counts.log_likelihood for counts in small)
    assert total.log_likelihood == pytest.approx(expected, rel=tolerance, abs=tolerance)
    assert total.sequences == sum(len(tokens) for tokens in batches)


@settings(deadline=None, max_examples=60)
@given(model=models, size=st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(0, 10_000)))
def test_one_batch_with_its_posteriors_is_the_one_spelled_out(model: Parameters, size: tuple[int, int, int]) -> None:
    tokens = tokens_of(*size)
    small = small_expected_counts(exact(model), tokens)
    tolerance = tolerance_of(model)
    counts = expected_counts(model, tokens, posterior=True)
    assert counts.posterior is not None
    for actual, expected in (
        (counts.initial, small.initial),
        (counts.transition, small.transition),
        (counts.emission, small.emission[:, counts.tokens]),
        (counts.posterior, small.posterior),
        (smooth_tokens(model, tokens).posterior, small.posterior),
    ):
        assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)
    assert float(log_likelihood(model, tokens).double().sum()) == pytest.approx(
        small.log_likelihood, rel=tolerance, abs=tolerance
    )
    assert expected_counts(model, tokens).posterior is None


def test_one_hot_credit_of_the_posteriors_is_the_count_of_tokens() -> None:
    model = model_of(3, 4, "dense", torch.float64, 0.0)
    batches = [tokens_of(3, 5, 1), tokens_of(2, 6, 2)]
    sums = CountSums(model)
    for tokens in batches:
        posterior = sums.add_moves(tokens)
        one_hot = torch.nn.functional.one_hot(tokens + 1, VOCABULARY + 1)[..., 1:].double()
        sums.emission.addmm_(one_hot.flatten(0, 1).T, posterior.flatten(0, 1))
    for ours, expected in zip(sums.total(), total_counts(model, batches), strict=True):
        assert_close(ours, expected)


@pytest.mark.parametrize("kind", ["dense", "compressed"])
def test_counting_moves_gives_what_the_filter_predicts(kind: str) -> None:
    model = model_of(3, 4, kind, torch.float64, 0.0)
    tokens = tokens_of(3, 5, 1)
    sums = CountSums(model)
    assert_close(sums.add_moves_predicting(tokens), filter_tokens(model, tokens).predictive[:, :-1])
    counts, expected = sums.total(), total_counts(model, [tokens])
    assert_close(counts.transition, expected.transition)
    assert_close(counts.initial, expected.initial)
    assert float(counts.emission.sum()) == 0


def test_bfloat16_products_keep_the_likelihood() -> None:
    generator = torch.Generator().manual_seed(0)
    transition, emission, initial = (rows(generator, 64, size) for size in (64, 500, 64))
    initial = initial[0]
    tokens = torch.randint(500, (40, 32), generator=generator)
    exact_counts = total_counts(Parameters(DenseMatrix(transition), DenseMatrix(emission), initial), [tokens])
    single = Parameters(DenseMatrix(transition.float()), DenseMatrix(emission.float()), initial.float())
    counts = total_counts(single, [tokens], product_dtype=torch.bfloat16)
    assert counts.log_likelihood == pytest.approx(exact_counts.log_likelihood, rel=1e-3)
    assert counts.transition.dtype == counts.emission.dtype == torch.float32
    for ours, truth in ((counts.transition, exact_counts.transition), (counts.emission, exact_counts.emission)):
        assert float((ours - truth).abs().sum() / truth.sum()) < 0.02


def test_a_state_that_underflowed_makes_no_nan() -> None:
    """The second state is out of float32's reach when the tokens that only it explains well begin."""
    transition = DenseMatrix(torch.eye(2))
    emission = DenseMatrix(torch.tensor([[0.999, 0.001], [0.001, 0.999]]))
    model = Parameters(transition, emission, torch.tensor([0.5, 0.5]))
    counts = expected_counts(model, torch.tensor([[0] * 30 + [1] * 20]), posterior=True)
    assert counts.posterior is not None
    assert_close(counts.posterior[0], torch.tensor([[1.0, 0.0]]).expand(50, 2))
    assert math.isfinite(float(counts.log_likelihood))


def test_batches_are_joined_in_order_up_to_the_limit() -> None:
    batches = [tokens_of(2, 3, 0), tokens_of(1, 3, 1), tokens_of(2, 3, 2), tokens_of(2, 4, 3)]
    groups = list(joined(batches, most_tokens=9))
    assert [tuple(group.shape) for group in groups] == [(3, 3), (2, 3), (2, 4)]
    assert_close(torch.cat([group.flatten() for group in groups]), torch.cat([batch.flatten() for batch in batches]))


@pytest.mark.parametrize("token", [VOCABULARY, -2])
def test_foreign_tokens_are_refused_before_anything_is_counted(token: int) -> None:
    sums = CountSums(model_of(0, 2, "dense", torch.float32, 0.0))
    with pytest.raises(VocabularyError, match=str(token)):
        sums.add(torch.tensor([[0, token]]))
    assert not sums.emission.any()
    assert sums.total().sequences == 0
