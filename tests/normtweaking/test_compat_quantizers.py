"""The norm-tweaking repository's quantizers: its formula, its names for weights, and this library behind them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.decoders import decoder
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from ctrlg.errors import ArgumentError, CheckpointError
from normtweaking import LinearQuantizer, PreComputedQuantizer, quantize_model
from normtweaking.compat.quantizers import Bridge, KMeansQuantizer, Quantizer
from normtweaking.compat.tweaking import quantizer_of
from normtweaking.structure import decoder_layers, linear_layers


def reference(values: Tensor, nbits: int, group_size: int) -> Tensor:
    """Entry by entry: step = (max - min) / (2^nbits - 1) of some neighbouring channels, w ~ step * round(w / step)."""
    found = torch.empty_like(values)
    channels = values.shape[-1]
    for start in range(0, channels, group_size):
        group = values[..., start : start + group_size]
        step = (group.max() - group.min()) / (2**nbits - 1)
        step = torch.tensor(0.001) if step == 0 else step
        found[..., start : start + group_size] = (group / step).round() * step
    return found


@settings(max_examples=80, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    nbits=st.integers(1, 9),
    group_size=st.one_of(st.none(), st.integers(1, 12)),
    scale=st.sampled_from([1e-4, 0.02, 3.0]),
    seed=st.integers(0, 10_000),
)
def test_linear_is_the_written_out_formula(
    shape: list[int], nbits: int, group_size: int | None, scale: float, seed: int
) -> None:
    values = scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    param = nn.Parameter(values.clone())
    LinearQuantizer(nbits, group_size).quantize("h.0.attn.c_attn.weight", param)
    assert torch.equal(param.detach(), reference(values, nbits, group_size or shape[-1]))


@pytest.mark.parametrize("nbits", [2, 3, 6])
def test_ends_between_two_levels_stay_within_the_bits(nbits: int) -> None:
    """A symmetric range has its ends there: 2^nbits levels are kept, and nothing moves by more than half a step."""
    end = (2**nbits - 1) / 2  # the step is 1
    values = torch.linspace(-end, end, 4097)[:, None]
    rounded = LinearQuantizer(nbits).quantized(values)
    assert len(rounded.unique()) == 2**nbits
    assert (rounded - values).abs().max() == 0.5
    assert len(reference(values, nbits, 1).unique()) == 2**nbits + 1  # what the formula alone does


def test_kmeans_finds_clusters_of_a_group() -> None:
    values = torch.tensor([[0.0, 5.0], [0.2, 5.2], [9.0, 50.0]])
    expected = torch.tensor([[0.1, 5.1], [0.1, 5.1], [9.0, 50.0]])
    torch.testing.assert_close(KMeansQuantizer(1, 1).quantized(values), expected)
    assert len(KMeansQuantizer(3).quantized(torch.randn(40, 6)).unique()) == 8


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_channels_are_output_channels_of_every_model(name: str) -> None:
    model, original = decoder(name), decoder(name)
    quantize_model(model, Bridge(LinearQuantizer(2, 1)))
    prefix, layers = decoder_layers(model)
    before = {linear.name: linear.weight for linear in linear_layers(original)}
    for linear in linear_layers(layers, prefix):
        expected = reference(before[linear.name].T, 2, 1).T
        torch.testing.assert_close(linear.weight, expected)
        assert all(len(row.unique()) <= 4 for row in linear.weight)


def test_quantizers_of_users_get_the_bare_models_names_and_shapes() -> None:
    seen: dict[str, tuple[int, ...]] = {}

    class Halves(Quantizer):
        def quantize(self, name: str, param: nn.Parameter) -> None:
            seen[name] = tuple(param.shape)
            param.data = param.data / 2

    model, original = decoder("gpt2"), decoder("gpt2").state_dict()
    quantize_model(model, Bridge(Halves(), "transformer."))
    assert seen["h.2.mlp.c_fc.weight"] == (16, 64)
    weight = model.state_dict()["transformer.h.2.mlp.c_fc.weight"]
    assert torch.equal(weight, original["transformer.h.2.mlp.c_fc.weight"] / 2)

    class Wrong(Quantizer):
        def quantize(self, name: str, param: nn.Parameter) -> None:
            param.data = param.data[:1]

    with pytest.raises(ArgumentError, match="Wrong made"):
        quantize_model(decoder("gpt2"), Bridge(Wrong()))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("bare_names", [True, False])
def test_precomputed_values_by_either_models_names(name: str, bare_names: bool, tmp_path: Path) -> None:
    source, model = decoder(name), decoder(name)
    quantize_model(source, Bridge(LinearQuantizer(3)))
    state = source.base_model.state_dict() if bare_names else source.state_dict()
    path = tmp_path / "weights.safetensors"
    save_file({key: value.clone() for key, value in state.items()}, path)
    quantize_model(model, Bridge(PreComputedQuantizer(str(path), "cpu")))
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in model.state_dict().items())
    key, value = next(item for item in source.base_model.state_dict().items() if item[1].dim() == 2)
    param = nn.Parameter(torch.zeros_like(value))
    PreComputedQuantizer(str(path), None).quantize(key, param)
    assert torch.equal(param.detach(), value)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    for wrong in (0, -1, 17):
        with pytest.raises(ArgumentError, match=f"nbits is {wrong}"):
            LinearQuantizer(wrong)
    with pytest.raises(ArgumentError, match="group_size is 0"):
        KMeansQuantizer(4, 0)
    with pytest.raises(ArgumentError, match=r"weights\.pt"):
        PreComputedQuantizer("weights.pt", None)
    with pytest.raises(CheckpointError, match="no file"):
        PreComputedQuantizer(str(tmp_path / "none.safetensors"), None)
    with pytest.raises(ArgumentError, match="'gptq' is unknown"):
        quantizer_of("gptq", 4, None, None)
    with pytest.raises(ArgumentError, match="without its file"):
        quantizer_of("precomputed", 4, None, None)


def test_command_line_names() -> None:
    assert quantizer_of("linear", 6, None, None).metadata() == {
        "name": "LinearQuantizer",
        "nbits": "6",
        "group_size": "1",
    }
    assert quantizer_of("k-means", 4, None, None).metadata()["group_size"] == "None"
