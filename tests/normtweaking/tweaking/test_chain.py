"""Layer after layer is the model's own forward, on every architecture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.decoders import DECODERS, VOCABULARY, decoder
from torch import Tensor, nn

from ctrlg.errors import ArgumentError
from normtweaking.tweaking.chain import Batch, LayerChain


def tokens(rows: int = 3, length: int = 12) -> Tensor:
    return torch.randint(2, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


def padded() -> dict[str, Tensor]:
    """Rows of 12, 9 and 5 tokens, padded on the left."""
    mask = torch.ones(3, 12, dtype=torch.long)
    mask[1, :3] = 0
    mask[2, :7] = 0
    return {"input_ids": tokens(), "attention_mask": mask}


def run_layer_by_layer(chain: LayerChain, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    hidden, calls = chain.inputs(batch)
    states = [hidden]
    for index, call in enumerate(calls):
        hidden = chain.run(index, hidden, call)
        states.append(hidden)
    return chain.finish(batch, hidden), states


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("batch", [{"input_ids": tokens()}, {"input_ids": tokens(1)}, padded()], ids=len)
@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_chain_is_the_forward(name: str, batch: dict[str, Tensor], attention: str) -> None:
    model = decoder(name)
    if attention == "sdpa" and not model._supports_sdpa:
        pytest.skip(f"transformers has no {attention} attention for {name}")
    model.set_attn_implementation(attention)
    logits, states = run_layer_by_layer(LayerChain(model), batch)
    expected = model(**batch, output_hidden_states=True)
    seen = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    assert logits.shape == expected.logits.shape
    assert (logits - expected.logits)[seen].abs().max() < 1e-5
    for state, wanted in zip(states[:-1], expected.hidden_states[:-1], strict=True):
        assert state.shape == wanted.shape
        assert (state - wanted)[seen].abs().max() < 1e-5


@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_logits_of_some_positions(name: str) -> None:
    model = decoder(name)
    chain = LayerChain(model)
    batch = {"input_ids": tokens()}
    hidden, calls = chain.inputs(batch)
    for index, call in enumerate(calls):
        hidden = chain.run(index, hidden, call)
    some = chain.finish(batch, hidden, torch.tensor([3, 11]))
    assert (some - model(**batch).logits[:, [3, 11]]).abs().max() < 1e-5


@torch.no_grad()
def test_layers_may_return_tuples() -> None:
    """As those of older transformers do: `layer(x)[0]` of a tensor would be the first row of the batch."""
    model = decoder("gpt2")

    class Tupled(nn.Module):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, *arguments: Any, **options: Any) -> tuple[Tensor]:
            return (self.layer(*arguments, **options),)

    class Untupling(nn.ModuleList):
        def __iter__(self) -> Any:
            return (lambda *arguments, _layer=layer, **options: _layer(*arguments, **options)[0] for layer in self[:])

        def __getitem__(self, index: Any) -> Any:
            return list(self._modules.values())[index]

    expected = model(tokens()).logits
    model.transformer.h = Untupling(Tupled(layer) for layer in model.transformer.h)
    logits, _ = run_layer_by_layer(LayerChain(model), {"input_ids": tokens()})
    assert (logits - expected).abs().max() < 1e-5


def test_the_model_is_left_as_it_was() -> None:
    model = decoder()
    chain = LayerChain(model)
    chain.check({"input_ids": tokens()})
    assert not any("forward" in layer.__dict__ for layer in chain.layers)
    with pytest.raises(RuntimeError):
        chain.finish({"input_ids": tokens()}, torch.zeros(3, 12, 5))
    assert not any("forward" in layer.__dict__ for layer in chain.layers)


def test_gradients_reach_the_hidden_states() -> None:
    chain = LayerChain(decoder("gemma2"))
    hidden = torch.randn(3, 12, 16, requires_grad=True)
    chain.finish({"input_ids": tokens()}, hidden).sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.abs().sum() > 0


def test_layers_that_exchange_more_are_refused() -> None:
    model = decoder()
    seen: list[int] = []

    def remember(module: Any, arguments: Any, output: Tensor) -> Tensor:
        seen.append(0)
        return output + len(seen)

    model.model.layers[1].register_forward_hook(remember)
    with pytest.raises(ArgumentError, match="gives other logits"):
        LayerChain(model).check({"input_ids": tokens()})


def test_models_without_decoder_layers_are_refused() -> None:
    model = decoder()
    model.config.num_hidden_layers = 7
    with pytest.raises(ArgumentError, match="no list of 7 decoder layers"):
        LayerChain(model)
