"""Norms solved against a brute-force optimum, and what becomes of whole models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.decoders import DECODERS, decoder
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from normtweaking import CalibrationData, ModelTweaker, RoundToNearest, TweakSettings, quantize_model
from normtweaking.structure import decoder_layers, norms
from normtweaking.tweaking.chain import LayerChain
from normtweaking.tweaking.least_squares import NormSums, fit_norms, float_norms, refit
from normtweaking.tweaking.stages import Activations, stages_of

QUANTIZER = RoundToNearest(3)
TOKENS = torch.randint(48, (8, 16), generator=torch.Generator().manual_seed(0))


def mean_sums(x: Tensor, y: Tensor) -> NormSums:
    return NormSums(x.mean(0), y.mean(0), x.T @ x / len(x), y.T @ x / len(x))


def brute_force(x: Tensor, y: Tensor, weight: Tensor, found: Tensor, with_bias: bool) -> Tensor:
    """Gain and bias by a dense least-squares problem with a row for every token and output."""
    columns = (x[:, None, :] * found).flatten(0, 1)  # of the gain: d |-> V (d * x)
    if with_bias:
        columns = torch.cat([columns, found.repeat(len(x), 1)], 1)
    return torch.linalg.lstsq(columns, (y @ weight.T).flatten()[:, None]).solution[:, 0]


@given(seed=st.integers(0, 10_000), with_bias=st.booleans())
@settings(max_examples=20, deadline=None)
def test_refitted_norms_are_the_brute_force_optimum(seed: int, with_bias: bool) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.double)

    x, y, weight = draw(40, 5) + 0.3, draw(40, 5) + 0.1, draw(7, 5)
    found = weight + 0.2 * draw(7, 5)
    norm = (nn.LayerNorm(5) if with_bias else nn.RMSNorm(5)).double()
    refit(norm, mean_sums(x, y), weight, found, ridge=0)
    fitted = torch.cat([parameter.detach() for parameter in norm.parameters()])
    torch.testing.assert_close(fitted, brute_force(x, y, weight, found, with_bias), rtol=1e-5, atol=1e-7)


def test_what_nothing_reads_is_fitted_channel_by_channel() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=generator, dtype=torch.double)
    y = x * torch.tensor([1.0, 2, 3, 4]) + 0.1 * torch.randn(30, 4, generator=generator, dtype=torch.double)
    norm = nn.RMSNorm(4).double()
    refit(norm, mean_sums(x, y), None, None, ridge=0)
    torch.testing.assert_close(norm.weight.detach(), (x * y).sum(0) / x.square().sum(0))


def test_dead_channels_stay_as_they_are() -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.double)
    norm = nn.RMSNorm(2).double()
    refit(norm, mean_sums(x, 3 * x), None, None, ridge=1e-6)
    torch.testing.assert_close(norm.weight.detach(), torch.tensor([3.0, 1.0], dtype=torch.double), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("name", "count"), [("llama", [3, 2, 1]), ("gpt2", [1, 1, 1]), ("gemma2", [3, 0, 2, 0, 1])])
def test_readers_are_found(name: str, count: list[int]) -> None:
    """Queries, keys and values; gate and up; nothing behind Gemma's norms of what is added; the head at the end."""
    chain = LayerChain(decoder(name))
    first, *_, last = stages_of(chain, {"input_ids": TOKENS})
    activations = Activations(chain, [{"input_ids": part} for part in TOKENS.split(4)])
    found = [*float_norms(first, activations).values(), *float_norms(last, activations).values()]
    assert [len(norm.readers) for norm in found] == count
    assert all(len(norm.outputs) == 2 for norm in found)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma"])
def test_a_layers_readers_are_nearer_to_the_float_ones(name: str) -> None:
    """The squared error at what the first norm feeds falls; only that norm is looked at, on the same inputs."""
    model, exact = decoder(name), decoder(name)
    chain = LayerChain(model)
    stage, *_ = stages_of(chain, {"input_ids": TOKENS})
    activations = Activations(chain, [{"input_ids": part} for part in TOKENS.split(4)])
    wanted = float_norms(stage, activations)
    quantize_model(model, QUANTIZER)

    @torch.no_grad()
    def error() -> float:
        (norm, target), *_ = wanted.items()
        _, float_norm = next(norms(decoder_layers(exact).modules))
        hidden = torch.cat(activations.float_states)
        weight = torch.cat([linear.weight for linear in target.readers])
        assert target.weight is not None
        return float((float_norm(hidden) @ target.weight.T - norm(hidden) @ weight.T).square().mean())

    before = error()
    fit_norms(stage, activations, wanted)
    assert error() < before


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("loss", ["least-squares", "own-least-squares"])
def test_every_architecture_can_be_solved(name: str, loss: str) -> None:
    model = decoder(name)
    settings = TweakSettings(loss=loss, batch_size=4, keep_better=False)
    result = ModelTweaker(model, QUANTIZER, settings).run(CalibrationData(TOKENS))
    assert len(result.layers) == model.config.num_hidden_layers + 1
    first, same = (next(norms(decoder_layers(part).modules))[1] for part in (model, decoder(name)))
    assert not any(torch.equal(*pair) for pair in zip(first.parameters(), same.parameters(), strict=True))
    assert result.score_tweaked < 2 * result.score_quantized


def test_without_rounding_nothing_changes() -> None:
    class Exact(RoundToNearest):
        def quantize(self, weight):  # noqa: ANN001, ANN202
            return weight.values

    model, exact = decoder("gpt2"), decoder("gpt2")
    settings = replace(TweakSettings(loss="least-squares"), keep_better=False)
    ModelTweaker(model, Exact(8), settings).run(CalibrationData(TOKENS))
    for one, other in zip(model.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_quantised_head_is_repaired_against_the_float_one() -> None:
    """The last norm's readers are float where they are asked for, though the head was quantised first."""
    model, exact = decoder("gpt2"), decoder("gpt2")
    settings = replace(TweakSettings(loss="own-least-squares"), keep_better=False)
    tweaker = ModelTweaker(model, QUANTIZER, settings, head=True)
    tweaker.run(CalibrationData(TOKENS))
    last = [module for _, module in norms(model)][-1]
    same = [module for _, module in norms(exact)][-1]
    assert not torch.allclose(last.weight, same.weight)  # type: ignore[arg-type]
