"""GPTQ's weights have few levels, lose less than rounding does, and take the places of the model's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.decoders import VOCABULARY, decoder
from safetensors import safe_open
from torch import Tensor

from ctrlg.errors import ArgumentError
from normtweaking import CalibrationData, Precomputed, RoundToNearest, Weight, quantize_model
from normtweaking.rounding import gptq
from normtweaking.rounding.gptq import gptq_weights, write_gptq_weights
from normtweaking.structure import Linear, decoder_layers, linear_layers

SCHEMES = [RoundToNearest(3), RoundToNearest(4, 8), RoundToNearest(3, symmetric=True), RoundToNearest(2, 4, True)]


def calibration() -> CalibrationData:
    return CalibrationData(torch.randint(VOCABULARY, (12, 32), generator=torch.Generator().manual_seed(0)))


def linears_of(model: Any) -> list[Linear]:
    prefix, layers = decoder_layers(model)
    return list(linear_layers(layers, prefix))


def inputs_of(model: Any, linears: list[Linear], tokens: Tensor) -> dict[str, Tensor]:
    """What each linear layer reads, float64 [tokens, in]."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, arguments: found.update({name: arguments[0].flatten(0, -2).double()})

    hooks = [linear.module.register_forward_pre_hook(keep(linear.name)) for linear in linears]
    with torch.no_grad():
        model(tokens)
    for hook in hooks:
        hook.remove()
    return found


def rounded_on_its_grid(weight: Tensor, scheme: RoundToNearest) -> Tensor:
    """Round to nearest on llm-compressor's levels, of which one is zero."""
    groups = weight.reshape(-1, scheme.group_size or weight.shape[1])
    most = 2**scheme.bits - 1
    if scheme.symmetric:
        step, zero = 2 * groups.abs().amax(1, keepdim=True) / most, 2 ** (scheme.bits - 1)
    else:
        least, greatest = groups.amin(1, keepdim=True).clamp(max=0), groups.amax(1, keepdim=True).clamp(min=0)
        step = (greatest - least) / most
        zero = (-least / step).round()
    codes = ((groups / step).round() + zero).clamp(0, most)
    return ((codes - zero) * step).reshape(weight.shape)


def test_without_the_library_it_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gptq.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="not installed: llmcompressor") as refusal:
        write_gptq_weights(decoder(), calibration(), RoundToNearest(4), tmp_path / "folder" / "weights.safetensors")
    assert "gptq" in refusal.value.hint
    assert not any(tmp_path.iterdir())


class TestWithTheLibrary:
    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip("llmcompressor")

    @pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
    def test_levels_are_few_and_the_outputs_closer_than_with_rounding(self, scheme: RoundToNearest) -> None:
        """In the first layer: what it reads does not depend on the rounding of others. Closer than rounding to the same
        levels in each linear layer, and than our own rounding in all of them together."""
        model, data = decoder(), calibration()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        weights = gptq_weights(model, data.tokens, scheme)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        linears = linears_of(model)
        assert weights.keys() == {f"{linear.name}.weight" for linear in linears}
        for values in weights.values():
            groups = values.reshape(-1, scheme.group_size or values.shape[1])
            assert all(len(group.unique()) <= 2**scheme.bits for group in groups)
        first = [linear for linear in linears if ".0." in linear.name]
        total = torch.zeros(2, dtype=torch.float64)
        for name, inputs in inputs_of(model, first, data.tokens).items():
            weight = before[f"{name}.weight"]
            candidates = (
                weights[f"{name}.weight"],
                scheme.quantize(Weight(name, weight)),
                rounded_on_its_grid(weight, scheme),
            )
            errors = torch.stack([((weight - other).double() @ inputs.T).square().sum() for other in candidates])
            assert errors[0] < errors[2], name
            total += errors[:2]
        assert total[0] < total[1]

    @pytest.mark.parametrize("name", ["llama", "opt", "gemma3", "qwen2"])
    def test_the_file_takes_the_places_of_the_models_weights(self, name: str, tmp_path: Path) -> None:
        model, data, path = decoder(name), calibration(), tmp_path / "weights.safetensors"
        before = {name: value.clone() for name, value in model.state_dict().items()}
        write_gptq_weights(model, data, RoundToNearest(3), path)
        quantize_model(model, Precomputed(path))
        rounded = {f"{linear.name}.weight" for linear in linears_of(model)}
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key]) is (key not in rounded), key
        with safe_open(path, framework="pt") as content:
            said = json.loads(content.metadata()[gptq.DESCRIPTION])
        assert (said["quantizer"], said["bits"], said["group_size"], said["symmetric"]) == ("gptq", 3, None, False)
        assert said["calibration_sha256"] == hashlib.sha256(data.tokens.numpy().tobytes()).hexdigest()

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(ArgumentError, match="groups of 7 do not fill the 16 inputs"):
            gptq_weights(decoder(), calibration().tokens, RoundToNearest(4, 7))
        with pytest.raises(ArgumentError, match=r"GPT2LMHeadModel stores its weights as \[in, out\]"):
            gptq_weights(decoder("gpt2"), calibration().tokens, RoundToNearest(4))
