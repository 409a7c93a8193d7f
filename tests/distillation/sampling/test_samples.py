"""Sampling: the model's own distribution, its own hidden states, and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.sampling_job import EOS, VOCABULARY, tiny_language_model
from torch.testing import assert_close

from ctrlg.distillation.sampling.samples import SamplingSettings, sample, token_mask
from ctrlg.errors import ArgumentError


def test_embeddings_are_the_hidden_states_that_predicted_each_token() -> None:
    model = tiny_language_model()
    settings = SamplingSettings(max_new_tokens=9)
    drawn = sample(model, [EOS, 3], 40, settings, EOS, torch.Generator().manual_seed(0), embeddings=True)
    mask = token_mask(drawn.sequences, EOS)
    assert 0 < mask.float().mean() < 1, "some rows should end early for this test to mean anything"
    context = torch.cat([torch.tensor([[EOS, 3]]).expand(40, -1), drawn.sequences], 1)
    hidden = model.get_decoder()(context).last_hidden_state[:, 1:-1]
    assert drawn.embeddings is not None
    assert_close(drawn.embeddings.float(), hidden[mask].detach(), rtol=5e-3, atol=5e-3)


def test_after_the_first_end_of_text_there_is_only_end_of_text() -> None:
    settings = SamplingSettings(max_new_tokens=12)
    drawn = sample(tiny_language_model(), [EOS], 200, settings, EOS, torch.Generator().manual_seed(1)).sequences
    ended = (drawn == EOS).cumsum(1) > 0
    assert (drawn[ended] == EOS).all()


def test_draws_follow_the_models_distribution() -> None:
    model = tiny_language_model()
    settings = SamplingSettings(max_new_tokens=2)
    drawn = sample(model, [EOS], 20_000, settings, EOS, torch.Generator().manual_seed(2)).sequences
    first = model(torch.tensor([[EOS]])).logits[0, -1].softmax(-1).detach()
    observed = torch.bincount(drawn[:, 0], minlength=VOCABULARY)
    assert float(((observed - first * 20_000) ** 2 / (first * 20_000)).sum()) < 31.3  # 99.9 %, 11 degrees
    token = int((observed * (torch.arange(VOCABULARY) != EOS)).argmax())
    second = model(torch.tensor([[EOS, token]])).logits[0, -1].softmax(-1).detach()
    rows = drawn[drawn[:, 0] == token, 1]
    expected = second * len(rows)
    observed = torch.bincount(rows, minlength=VOCABULARY)
    assert float(((observed - expected) ** 2 / expected).sum()) < 31.3


def test_top_k_and_top_p_cut_the_tail() -> None:
    model = tiny_language_model()
    ranked = model(torch.tensor([[EOS]])).logits[0, -1].argsort(descending=True)
    for settings, allowed in (
        (SamplingSettings(max_new_tokens=1, top_k=2), ranked[:2]),
        (SamplingSettings(max_new_tokens=1, top_p=1e-6), ranked[:1]),
    ):
        drawn = sample(model, [EOS], 300, settings, EOS, torch.Generator().manual_seed(3)).sequences
        assert set(drawn.flatten().tolist()) == set(allowed.tolist())


@pytest.mark.parametrize(
    ("settings", "prompt"),
    [
        ({"temperature": 0.0}, [EOS]),
        ({"top_p": 0.0}, [EOS]),
        ({"top_p": 1.5}, [EOS]),
        ({"top_k": -1}, [EOS]),
        ({"max_new_tokens": 0}, [EOS]),
        ({}, []),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], prompt: list[int]) -> None:
    with pytest.raises(ArgumentError):
        sample(tiny_language_model(), prompt, 2, SamplingSettings(**settings), EOS, torch.Generator())
