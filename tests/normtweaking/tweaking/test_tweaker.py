"""Tweaking repairs, touches nothing but norms, keeps the better, and what it saves is an ordinary model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.decoders import DECODERS, VOCABULARY, decoder
from helpers.tiny_models import tiny_tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from ctrlg.errors import ArgumentError, VocabularyError
from normtweaking import (
    CalibrationData,
    LayerTweak,
    ModelTweaker,
    RoundToNearest,
    TweakSettings,
    Weight,
    quantize_model,
)
from normtweaking.structure import decoder_layers, norms
from normtweaking.tweaking.divergence import kl_divergence
from normtweaking.tweaking.moments import activation_loss

QUANTIZER = RoundToNearest(3)
SETTINGS = TweakSettings(learning_rate=2e-3, iterations=4, batch_size=4)


def texts(samples: int = 12, seed: int = 0) -> CalibrationData:
    generator = torch.Generator().manual_seed(seed)
    return CalibrationData(torch.randint(2, VOCABULARY, (samples, 16), generator=generator))


@torch.no_grad()
def divergence(model: Any, name: str, tokens: Tensor) -> float:
    """KL of a model from the float decoder of this name, nats per token."""
    return kl_divergence(decoder(name)(tokens).logits, model(tokens).logits).item()


def only_quantised(name: str) -> Any:
    model = decoder(name)
    quantize_model(model, QUANTIZER)
    return model


def test_divergence_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.5], [0.25, 0.75]]).log(), torch.tensor([[0.25, 0.75], [0.25, 0.75]]).log()
    expected = (0.5 * torch.tensor(2.0).log() + 0.5 * torch.tensor(2 / 3).log()) / 2
    assert kl_divergence(*logits).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("loss", ["distribution", "mse", "moments"])
def test_losses_of_layers_fall(name: str, loss: str) -> None:
    result = ModelTweaker(decoder(name), QUANTIZER, replace(SETTINGS, loss=loss)).run(texts())
    assert len(result.layers) == decoder(name).config.num_hidden_layers + 1
    if loss != "moments":  # which does not look at what is measured, the layers' outputs
        falls = [layer.loss_after < layer.loss_before for layer in result.layers]
        assert sum(falls) >= len(falls) - 1
        assert sum(layer.loss_after for layer in result.layers) < sum(layer.loss_before for layer in result.layers)


@pytest.mark.parametrize("scope", ["layers", "end-to-end", "both"])
def test_only_norms_differ_from_the_quantised_model(scope: str) -> None:
    model, quantised = decoder("llama"), only_quantised("llama").state_dict()
    result = ModelTweaker(model, QUANTIZER, replace(SETTINGS, scope=scope, keep_better=False)).run(texts())
    changed = {path for path, value in model.state_dict().items() if not torch.equal(value, quantised[path])}
    assert changed == {f"{path}.weight" for path, _ in norms(model)}
    assert result.score_quantized == pytest.approx(
        divergence(only_quantised("llama"), "llama", texts().tokens), rel=1e-4
    )
    assert result.score_tweaked == pytest.approx(divergence(model, "llama", texts().tokens), rel=1e-4)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_end_to_end_lowers_the_divergence(name: str) -> None:
    settings = replace(SETTINGS, scope="end-to-end", learning_rate=1e-3, keep_better=False)
    result = ModelTweaker(decoder(name), QUANTIZER, settings).run(texts())
    assert not result.layers
    assert result.score_tweaked < result.score_quantized


def test_the_best_pass_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three passes the second, by the scores that they get here; the last two are of the end's comparison."""
    scores = iter([3.0, 1.0, 2.0, 1.0, 5.0])
    monkeypatch.setattr("normtweaking.tweaking.tweaker.score", lambda *arguments: next(scores))
    model = decoder()
    _, norm = next(norms(model))
    seen: list[tuple[int, float | None, Tensor]] = []
    ModelTweaker(model, QUANTIZER, replace(SETTINGS, scope="end-to-end", iterations=3)).run(
        texts(),
        passed=lambda number, found: seen.append((number, found, norm.weight.detach().clone())),  # type: ignore
    )
    assert [entry[:2] for entry in seen] == [(1, 3.0), (2, 1.0), (3, 2.0)]
    assert torch.equal(norm.weight, seen[1][2])  # type: ignore[arg-type]
    assert not torch.equal(norm.weight, seen[2][2])  # type: ignore[arg-type]


def test_losses_are_those_of_the_layers_outputs() -> None:
    """Of the first layer, by the hidden states that transformers shows."""
    model, tokens = decoder("gpt2"), texts().tokens
    before, after = only_quantised("gpt2"), decoder("gpt2")
    result = ModelTweaker(after, QUANTIZER, replace(SETTINGS, keep_better=False)).run(texts())

    @torch.no_grad()
    def output(model: Any) -> Tensor:
        return model(tokens, output_hidden_states=True).hidden_states[1]

    first = result.layers[0]
    assert first.name == "transformer.h.0"
    assert first.loss_before == pytest.approx(activation_loss("distribution", output(model), output(before)).item())
    assert first.loss_after == pytest.approx(activation_loss("distribution", output(model), output(after)).item())
    assert first.loss_after == pytest.approx(first.mean_delta_after + first.variance_delta_after)


def test_learning_rates_rise_with_depth() -> None:
    seen: list[LayerTweak] = []
    settings = TweakSettings(learning_rate=1e-4, scale=2.0)
    result = ModelTweaker(decoder(), QUANTIZER, settings).run(texts(), report=seen.append)
    rates = [1e-4 * (1 + 2 * index / 3) for index in range(4)]
    assert [layer.learning_rate for layer in result.layers] == pytest.approx(rates)
    assert tuple(seen) == result.layers


def test_never_worse_than_the_quantised_model() -> None:
    """A learning rate that ruins the model leaves it as it was quantised; layer by layer, too."""
    harmful = TweakSettings(learning_rate=2.0, iterations=1, batch_size=4)
    model, quantised = decoder(), only_quantised("llama").state_dict()
    result = ModelTweaker(model, QUANTIZER, harmful).run(texts(), texts(4, seed=1))
    assert not result.kept
    assert result.score_tweaked > result.score_quantized
    assert all(torch.equal(value, quantised[path]) for path, value in model.state_dict().items())
    model = decoder()
    result = ModelTweaker(model, QUANTIZER, replace(harmful, keep_better_layers=True)).run(texts(), texts(4, seed=1))
    assert not any(layer.kept and layer.loss_after > layer.loss_before for layer in result.layers)
    assert all(layer.loss_after <= layer.loss_before for layer in result.layers)


def test_judged_by_texts_held_out() -> None:
    held_out = texts(4, seed=1)
    model = decoder()
    result = ModelTweaker(model, QUANTIZER, replace(SETTINGS, keep_better=False)).run(texts(), held_out)
    assert result.score_tweaked == pytest.approx(divergence(model, "llama", held_out.tokens), rel=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_embeddings_and_head_may_be_quantised(name: str) -> None:
    """Scores are against the float head, though there is only one model."""
    model, quantised = decoder(name), decoder(name)
    quantize_model(quantised, QUANTIZER, embeddings=True, head=True)
    result = ModelTweaker(model, QUANTIZER, SETTINGS, embeddings=True, head=True).run(texts())
    assert result.score_quantized == pytest.approx(divergence(quantised, name, texts().tokens), rel=1e-4)
    head = model.get_output_embeddings().weight
    assert torch.equal(head, quantised.get_output_embeddings().weight)


def test_moments_undo_what_went_wrong_before() -> None:
    """Embeddings off by a factor for each channel are met by the norms."""

    class Off:
        """Leaves the layers as they are."""

        def check(self, weight: Weight) -> None: ...

        def quantize(self, weight: Weight) -> Tensor:
            is_embedding = "embed_tokens" in weight.name
            return weight.values * torch.linspace(0.5, 1.5, 16) if is_embedding else weight.values

        def describe(self) -> dict[str, Any]:
            return {}

    result = ModelTweaker(decoder("llama"), Off(), TweakSettings(loss="moments"), embeddings=True).run(texts())
    assert result.score_tweaked < 0.5 * result.score_quantized


@pytest.mark.parametrize("name", DECODERS)
def test_saved_models_load_with_plain_transformers(name: str, tmp_path: Path) -> None:
    model, tokenizer = decoder(name), tiny_tokenizer()
    tweaker = ModelTweaker(model, QUANTIZER, SETTINGS)
    result = tweaker.run(texts())
    tweaker.save(tmp_path / "tweaked", tokenizer, result, calibration={"source": "a test"})
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "tweaked")
    assert AutoTokenizer.from_pretrained(tmp_path / "tweaked").vocab_size == tokenizer.vocab_size
    with torch.no_grad():
        torch.testing.assert_close(loaded(texts().tokens).logits, model(texts().tokens).logits)
    content = json.loads((tmp_path / "tweaked" / "norm_tweaking.json").read_text())
    assert content["quantizer"] == {"quantizer": "rtn", "bits": 3, "group_size": None, "symmetric": False}
    assert content["calibration"] == {"source": "a test"}
    assert len(content["layers"]) == len(result.layers)


def test_what_cannot_be_is_refused_before_any_work() -> None:
    original = decoder().state_dict()
    with pytest.raises(ArgumentError, match="float32"):
        ModelTweaker(decoder().bfloat16(), QUANTIZER)
    with pytest.raises(ArgumentError, match="groups of 7"):
        ModelTweaker(decoder(), RoundToNearest(4, 7))
    model = decoder()
    with pytest.raises(VocabularyError, match="from 0 to 99"):
        ModelTweaker(model, QUANTIZER).run(CalibrationData(torch.tensor([[0, 99]])))
    assert all(torch.equal(value, original[path]) for path, value in model.state_dict().items())
    for wrong in ({"loss": "kl"}, {"scope": "model"}, {"learning_rate": -1.0}, {"iterations": 0}, {"batch_size": 0}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            TweakSettings(**wrong)  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_is_named() -> None:
    with pytest.raises(ArgumentError, match="the loss is"):
        ModelTweaker(decoder(), QUANTIZER, TweakSettings(learning_rate=1e30, batch_size=2, iterations=3)).run(texts())


def test_norms_within_layers_are_found_in_the_whole_model() -> None:
    model = decoder("gemma3")
    assert len([*norms(model)]) == len([*norms(decoder_layers(model).modules)]) + 1
