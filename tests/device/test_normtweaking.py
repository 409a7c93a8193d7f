"""Norm tweaking, its quantisers, its own texts and perplexity on a device: as on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.decoders import VOCABULARY, decoder
from helpers.pretend_device import assert_same
from helpers.tiny_models import tiny_language_model, tiny_tokenizer
from torch import Tensor

from normtweaking import CalibrationData, ModelTweaker, RoundToNearest, TweakSettings, quantize_model
from normtweaking.perplexity import sliding_window_perplexity
from normtweaking.rounding.quantizers import KMeans
from normtweaking.texts.generation import CalibrationSettings, generate_calibration
from studies.norm_tweaking.layer_deltas import layer_moments

SETTINGS = TweakSettings(learning_rate=2e-3, iterations=2, batch_size=4)
TOKENS = torch.randint(2, VOCABULARY, (8, 12), generator=torch.Generator().manual_seed(0))


def weights(model: Any) -> tuple[Tensor, ...]:
    return tuple(parameter.detach() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["gpt2", "llama", "opt", "gemma2"])
@pytest.mark.parametrize("loss", ["distribution", "mse", "moments"])
@pytest.mark.parametrize("scope", ["layers", "both"])
def test_tweaking(device: torch.device, name: str, loss: str, scope: str) -> None:
    if name != "llama" and (loss, scope) != ("distribution", "both"):
        pytest.skip("one architecture is enough for every loss")
    results = []
    for place in ("cpu", device):
        model = decoder(name).to(place)
        settings = replace(SETTINGS, loss=loss, scope=scope, keep_better=False)
        result = ModelTweaker(model, RoundToNearest(3), settings).run(CalibrationData(TOKENS))
        losses = [(layer.loss_before, layer.loss_after) for layer in result.layers]
        results.append((losses, result.score_quantized, result.score_tweaked, weights(model)))
    # Adam's first steps are as large for a gradient that is a rounding error as for any other.
    atol = 1e-4 if scope == "layers" else 4 * SETTINGS.learning_rate
    assert_same(results[1][:3], results[0][:3], rtol=1e-2, atol=1e-4)
    assert_same(results[1][3], results[0][3], rtol=1e-3, atol=atol)


@pytest.mark.parametrize("quantizer", [RoundToNearest(3), RoundToNearest(4, group_size=8), KMeans(2)])
def test_quantisers(device: torch.device, quantizer: Any) -> None:
    results = []
    for place in ("cpu", device):
        model = decoder().to(place)
        quantize_model(model, quantizer, embeddings=True)
        results.append(weights(model))
    assert_same(results[1], results[0])


def test_moments_of_layers(device: torch.device) -> None:
    expected, found = (layer_moments(decoder().to(place), TOKENS, 3) for place in ("cpu", device))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.mean.cpu(), other.mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(one.variance.cpu(), other.variance, rtol=1e-5, atol=1e-5)


def test_texts_of_its_own(device: torch.device, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    settings = CalibrationSettings(samples=5, length=8, batch_size=3, seed=5)
    rows = [
        generate_calibration(
            tiny_language_model(len(tokenizer), eos_token_id=eos).to(place), tokenizer, settings, tmp_path / str(place)
        ).tokens
        for place in ("cpu", device)
    ]
    assert torch.equal(*rows)


def test_texts_may_be_on_the_device(device: torch.device) -> None:
    assert CalibrationData(TOKENS.to(device)).digest() == CalibrationData(TOKENS).digest()


def test_perplexity(device: torch.device) -> None:
    tokens = TOKENS.flatten()
    expected, found = (
        sliding_window_perplexity(decoder().to(place), tokens, window=20, stride=7) for place in ("cpu", device)
    )
    assert found == pytest.approx(expected, rel=1e-5)
