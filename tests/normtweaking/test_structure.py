"""Norms, linear layers and decoder layers are found by what they do."""

from __future__ import annotations

import pytest
import torch
from helpers.decoders import DECODERS, decoder
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from normtweaking.structure import decoder_layers, gain_offset, is_norm, linear_layers, norms

NORMS = {"gpt2": 2, "llama": 2, "opt": 2, "gemma": 2, "gemma2": 4, "gemma3": 6, "qwen2": 2}
LINEARS = {"gpt2": 4, "llama": 7, "opt": 6, "gemma": 7, "gemma2": 7, "gemma3": 7, "qwen2": 7}


@pytest.mark.parametrize("name", DECODERS)
def test_parts_of_a_layer(name: str) -> None:
    model = decoder(name)
    prefix, layers = decoder_layers(model)
    assert len(layers) == model.config.num_hidden_layers
    for index, layer in enumerate(layers):
        found = [*norms(layer, f"{prefix}.{index}")]
        assert len(found) == NORMS[name]
        assert all(model.get_submodule(path) is norm for path, norm in found)
        linears = [*linear_layers(layer, f"{prefix}.{index}")]
        assert len(linears) == LINEARS[name]
        assert all(model.get_submodule(linear.name) is linear.module for linear in linears)


@pytest.mark.parametrize("name", DECODERS)
def test_weights_are_seen_as_outputs_times_inputs(name: str) -> None:
    for linear in linear_layers(decoder_layers(decoder(name)).modules):
        x = torch.randn(5, linear.weight.shape[1])
        plain = linear.module(x) - linear.module(torch.zeros_like(x))
        torch.testing.assert_close(plain, x @ linear.weight.T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.LayerNorm(8), True),
        (nn.LayerNorm(8, bias=False), True),
        (nn.RMSNorm(8), True),
        (LlamaRMSNorm(8), True),
        (LlamaRMSNorm(8).bfloat16(), True),
        (nn.LayerNorm(8, elementwise_affine=False), False),
        (nn.PReLU(8), False),
        (nn.Linear(8, 8), False),
        (nn.Linear(1, 8), False),
        (nn.Embedding(8, 1), False),
        (nn.GELU(), False),
        (nn.Sequential(nn.LayerNorm(8)), False),
    ],
    ids=repr,
)
def test_norms_by_behaviour(module: nn.Module, expected: bool) -> None:
    assert is_norm(module) is expected


@pytest.mark.parametrize(("name", "offset"), [("gpt2", 0), ("llama", 0), ("gemma", 1), ("gemma3", 1), ("opt", 0)])
def test_what_is_added_to_the_weight(name: str, offset: int) -> None:
    assert {gain_offset(norm) for _, norm in norms(decoder_layers(decoder(name)).modules)} == {offset}
