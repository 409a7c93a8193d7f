"""Draws by inversion: against the cumulated softmax in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ctrlg.distillation.sampling import categorical
from ctrlg.distillation.sampling.categorical import BLOCK, sampled_tokens
from ctrlg.errors import ArgumentError

VOCABULARIES = [1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5]


def random_logits(rows: int, vocab_size: int, seed: int, scale: float = 3.0) -> Tensor:
    return torch.randn(rows, vocab_size, generator=torch.Generator().manual_seed(seed)) * scale


def interval(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The uniform numbers, from and to, at which each row draws its token."""
    cumulated = logits.double().softmax(1).cumsum(1)
    upper = cumulated.gather(1, tokens[:, None])[:, 0]
    return upper - logits.double().softmax(1).gather(1, tokens[:, None])[:, 0], upper


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(VOCABULARIES), st.integers(0, 1000), st.sampled_from([torch.float32, torch.bfloat16]))
def test_the_uniform_number_lies_in_the_interval_of_its_token(vocab_size: int, seed: int, dtype: torch.dtype) -> None:
    logits = random_logits(40, vocab_size, seed).to(dtype)
    uniforms = torch.rand(40, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    lower, upper = interval(logits, sampled_tokens(logits, uniforms))
    assert (uniforms > lower - 1e-6).all()
    assert (uniforms < upper + 1e-6).all()


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_unit_interval_draw_tokens_of_positive_probability(uniform: float) -> None:
    logits = random_logits(20, 2 * BLOCK + 3, 1)
    logits[:, :BLOCK] = -torch.inf
    logits[:, -3:] = -torch.inf
    tokens = sampled_tokens(logits, torch.full((20,), uniform, dtype=torch.float64))
    assert logits[torch.arange(20), tokens].isfinite().all()


def test_slices_draw_what_the_whole_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = random_logits(33, 300, 2)
    uniforms = torch.rand(33, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    whole = sampled_tokens(logits, uniforms)
    monkeypatch.setitem(categorical.SLICE_BYTES, "cpu", 10 * 4 * 512)
    assert torch.equal(sampled_tokens(logits, uniforms), whole)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.floats(0.05, 1.0), st.floats(0.3, 3.0), st.integers(0, 100))
def test_temperature_top_k_and_top_p_as_transformers_has_them(
    top_k: int, top_p: float, temperature: float, seed: int
) -> None:
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = random_logits(1, 30, seed)
    scores = logits
    for warper in (TemperatureLogitsWarper(temperature), TopKLogitsWarper(top_k), TopPLogitsWarper(top_p)):
        scores = warper(None, scores)  # type: ignore[arg-type]
    uniforms = (torch.arange(500, dtype=torch.float64) + 0.5) / 500
    tokens = sampled_tokens(logits.expand(500, -1), uniforms, temperature, top_k, top_p)
    observed = torch.bincount(tokens, minlength=30) / 500
    assert (observed - scores.softmax(1)[0]).abs().max() <= 1.01 / 500


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_logits_that_are_not_finite_are_refused(value: float) -> None:
    logits = random_logits(3, 20, 3)
    logits[1, 4] = value
    with pytest.raises(ArgumentError, match="NaN or infinite"):
        sampled_tokens(logits, torch.full((3,), 0.5, dtype=torch.float64))
