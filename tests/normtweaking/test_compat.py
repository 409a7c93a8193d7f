"""The norm-tweaking repository's classes on models with and without a head, against this library's own tweaker."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.decoders import VOCABULARY, decoder
from helpers.tiny_models import tiny_tokenizer
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM

from ctrlg.errors import ArgumentError, DataError, VocabularyError
from normtweaking import CalibrationData, LinearQuantizer, ModelTweaker, NormTweaker, TweakSettings, quantize_model
from normtweaking.compat.quantizers import Bridge
from normtweaking.structure import norms

QUANTIZER = LinearQuantizer(3, 1)
RATE, SCALE = 2e-3, 2
FAMILIES = ["gpt2", "llama", "opt", "gemma3"]


def samples(count: int = 4, length: int = 12) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(2, VOCABULARY, (count, length), generator=generator)
    return {f"sample_{index}": row for index, row in enumerate(rows)}


def tweaker(save_dir: Path | None = None, **options: Any) -> NormTweaker:
    return NormTweaker(QUANTIZER, save_dir, initial_learning_rate=RATE, lr_scale=SCALE, **options)


def expected(name: str, scope: str = "layers", rate: float = RATE) -> dict[str, Tensor]:
    """Weights that this library's own tweaker leaves, one text at a time."""
    model = decoder(name)
    whole = scope == "end-to-end"
    settings = TweakSettings(
        scope=scope, learning_rate=rate, scale=SCALE, batch_size=1, final_norm=whole, keep_better=False
    )
    data = CalibrationData(torch.stack(list(samples().values())))
    ModelTweaker(model, Bridge(QUANTIZER), settings).run(data)
    return model.state_dict()


def assert_same(model: Any, wanted: dict[str, Tensor]) -> None:
    found = model.state_dict()
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_bare_and_causal_models_become_what_our_own_tweaker_makes(name: str) -> None:
    wanted = expected(name)
    for part in (lambda model: model, lambda model: model.base_model):
        model = decoder(name)
        run = tweaker()
        run.tweak(part(model), samples(), skip_save=True)
        assert_same(model, wanted)
        assert [metric.layer for metric in run.train_metrics] == list(range(model.config.num_hidden_layers))
        assert all(metric.delta_mean > 0 and metric.delta_var > 0 for metric in run.train_metrics)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("bare", [True, False])
def test_first_layer_inputs_stand_for_the_tokens(name: str, bare: bool) -> None:
    model = decoder(name)
    part = model.base_model if bare else model
    run = tweaker()
    inputs = run.collect_first_layer_inputs(part, samples())
    assert all(hidden.shape == (1, 12, 16) for hidden in inputs.values())
    with torch.no_grad():
        embedded = model(samples()["sample_0"][None], output_hidden_states=True).hidden_states[0]
    torch.testing.assert_close(inputs["sample_0"], embedded)
    run.tweak(part, inputs, samples_is_first_layer_input=True, skip_save=True)
    assert_same(model, expected(name))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_end_to_end_needs_a_head(name: str) -> None:
    model = decoder(name)
    tweaker(apply_layerwise=False).tweak(model, samples(), skip_save=True)
    wanted = expected(name, "end-to-end")
    assert_same(model, wanted)
    bare = decoder(name)
    if name == "gpt2":  # whose head is its embedding
        tweaker(apply_layerwise=False).tweak(bare.base_model, samples(), skip_save=True)
        assert_same(bare, wanted)
    else:
        with pytest.raises(ArgumentError, match="no head"):
            tweaker(apply_layerwise=False).tweak(bare.base_model, samples(), skip_save=True)
        assert_same(bare, decoder(name).state_dict())


def test_skip_tweak_only_quantises() -> None:
    model, quantised = decoder("gpt2"), decoder("gpt2")
    quantize_model(quantised, Bridge(QUANTIZER))
    tweaker(skip_tweak=True).tweak(model.transformer, samples(), skip_save=True)
    assert all(torch.equal(value, quantised.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", FAMILIES)
def test_saved_models_load(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decoder(name).save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tweaker(tmp_path / "models").tweak(model, samples())
    bare = AutoModel.from_pretrained(tmp_path / "model")
    tweaker(tmp_path / "models").tweak(bare, samples())
    folders = sorted((tmp_path / "models").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    assert len(folders) == 2
    assert str(folders[-1]) in capsys.readouterr().out
    for folder in folders:
        assert re.match(rf"{model.config.model_type}_tweaked_\d{{4}}_", folder.name)
        said = json.loads((folder / "norm_tweaking_metadata.json").read_text())
        assert said["norm_tweaking_quantizer_nbits"] == "3"
        assert said["norm_tweaking_num_samples"] == "4"
        assert (folder / "tokenizer.json").is_file()
    whole = AutoModelForCausalLM.from_pretrained(folders[0])
    tokens = samples()["sample_0"][None]
    with torch.no_grad():
        torch.testing.assert_close(whole(tokens).logits, model(tokens).logits)
        torch.testing.assert_close(
            AutoModel.from_pretrained(folders[1])(tokens).last_hidden_state, bare(tokens).last_hidden_state
        )
        if model.config.tie_word_embeddings:
            torch.testing.assert_close(
                AutoModelForCausalLM.from_pretrained(folders[1])(tokens).logits, model(tokens).logits
            )


def test_16_bit_models_become_float32_and_modes_stay() -> None:
    model = decoder("llama").bfloat16().train()
    tweaker().tweak(model.model, samples(), skip_save=True)
    assert {parameter.dtype for parameter in model.model.parameters()} == {torch.float32}
    assert model.model.training


def test_padding_behind_a_single_text_is_not_read() -> None:
    padded = {name: torch.cat([row, torch.zeros(5, dtype=torch.long)]) for name, row in samples().items()}
    cut = {name: row[:13] for name, row in padded.items()}  # 0 is the end-of-text token; one of them stays
    models = decoder("gpt2"), decoder("gpt2")
    for model, texts in zip(models, (padded, cut), strict=True):
        tweaker().tweak(model, texts, skip_save=True)
    assert_same(models[0], models[1].state_dict())


def test_loss_is_that_of_channels() -> None:
    """By hand: means (2, 5) and (2, 6), variances over T - 1 (2, 2) and (8, 0)."""
    run = NormTweaker(None, None)
    one, other = torch.tensor([[1.0, 4.0], [3.0, 6.0]]), torch.tensor([[0.0, 6.0], [4.0, 6.0]])
    assert run._channelwise_distribution_loss(one, other).item() == pytest.approx((0 + 1 + 6 + 2) / 2)
    assert run._channelwise_distribution_loss(one[None], one[None]).item() == 0
    with pytest.raises(ArgumentError, match=r"\(2, 2\) and \(1, 2\)"):
        run._channelwise_distribution_loss(one, other[:1])


def test_what_cannot_be_is_refused_before_any_work() -> None:
    model, original = decoder("gpt2"), decoder("gpt2").state_dict()
    with pytest.raises(DataError, match="no calibration samples"):
        tweaker().tweak(model, {}, skip_save=True)
    with pytest.raises(VocabularyError, match="from 99 to 99"):
        tweaker().tweak(model, {"sample_0": torch.tensor([99])}, skip_save=True)
    with pytest.raises(DataError, match="65 tokens"):
        tweaker().tweak(model, {"sample_0": torch.ones(65, dtype=torch.long)}, skip_save=True)
    with pytest.raises(DataError, match="float32"):
        tweaker().tweak(model, {"sample_0": torch.ones(1, 4, 16)}, skip_save=True)
    with pytest.raises(ArgumentError, match="no save_dir"):
        tweaker().tweak(model, samples())
    with pytest.raises(ArgumentError, match="learning_rate"):
        NormTweaker(QUANTIZER, None, initial_learning_rate=-1.0)
    assert_same(model, original)
    assert all(not norm.training for _, norm in norms(model))
