"""Quantisers keep what they say about errors, levels and shapes, and refuse what they cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.decoders import decoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from ctrlg.errors import ArgumentError, CheckpointError
from normtweaking.rounding.quantizers import (
    KMeans,
    Precomputed,
    Quantizer,
    RoundToNearest,
    Weight,
    check_fits,
    quantize_model,
)
from normtweaking.structure import decoder_layers, linear_layers

# Hypothesis warns where several classes inherit a test; that is what these are for.
FOR_EVERY_QUANTIZER = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors])


@st.composite
def weights(draw: st.DrawFn) -> tuple[Tensor, int | None]:
    """A weight [out, in] of some size and spread, some rows constant or zero, and a group size that fits."""
    groups, size, rows = draw(st.integers(1, 3)), draw(st.integers(2, 40)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    values = torch.randn(rows, groups * size, generator=generator) ** draw(st.sampled_from([1, 3]))
    values *= draw(st.sampled_from([1e-6, 0.02, 1.0, 1e4]))
    values[0] *= draw(st.sampled_from([0.0, 1.0]))
    values[-1, :size] = values[-1, draw(st.integers(0, size - 1))].item()
    return values, draw(st.sampled_from([None, size]))


def groups_of(values: Tensor, group_size: int | None) -> Tensor:
    return values.reshape(-1, group_size or values.shape[1])


class QuantizerAlgebra:
    """Every quantiser passes these; a new one gets them by naming itself."""

    def make(self, bits: int, group_size: int | None) -> Quantizer:
        raise NotImplementedError

    @FOR_EVERY_QUANTIZER
    @given(drawn=weights(), bits=st.integers(2, 8))
    def test_levels_shape_and_type(self, drawn: tuple[Tensor, int | None], bits: int) -> None:
        values, group_size = drawn
        before = values.clone()
        quantized = self.make(bits, group_size).quantize(Weight("w", values))
        assert torch.equal(values, before)
        assert quantized.shape == values.shape
        assert quantized.dtype == values.dtype
        assert all(len(group.unique()) <= 2**bits for group in groups_of(quantized, group_size))

    @FOR_EVERY_QUANTIZER
    @given(drawn=weights(), bits=st.integers(2, 8))
    def test_twice_is_once(self, drawn: tuple[Tensor, int | None], bits: int) -> None:
        values, group_size = drawn
        quantizer = self.make(bits, group_size)
        once = quantizer.quantize(Weight("w", values))
        twice = quantizer.quantize(Weight("w", once))
        assert (twice - once).abs().max() <= 1e-5 * values.abs().max()

    @pytest.mark.parametrize("bits", [-1, 0, 1, 9, 16])
    def test_bits_out_of_range_are_refused(self, bits: int) -> None:
        with pytest.raises(ArgumentError, match=f"bits is {bits}"):
            self.make(bits, None)

    @pytest.mark.parametrize("group_size", [-4, 0, 1])
    def test_groups_too_small_are_refused(self, group_size: int) -> None:
        with pytest.raises(ArgumentError, match="group_size"):
            self.make(4, group_size)

    def test_groups_that_do_not_fill_a_row_are_refused(self) -> None:
        with pytest.raises(ArgumentError, match="groups of 128 do not fill the 576 inputs of some") as refusal:
            self.make(4, 128).check(Weight("some.weight", torch.zeros(3, 576)))
        assert "64" in refusal.value.hint

    def test_a_bfloat16_weight_stays_one(self) -> None:
        quantized = self.make(3, 8).quantize(Weight("w", torch.randn(4, 16).bfloat16()))
        assert quantized.dtype == torch.bfloat16


class TestAsymmetric(QuantizerAlgebra):
    def make(self, bits: int, group_size: int | None) -> Quantizer:
        return RoundToNearest(bits, group_size)

    @settings(max_examples=60, deadline=None)
    @given(drawn=weights(), bits=st.integers(2, 8))
    def test_no_entry_moves_by_more_than_half_a_step(self, drawn: tuple[Tensor, int | None], bits: int) -> None:
        values, group_size = drawn
        quantized = self.make(bits, group_size).quantize(Weight("w", values))
        groups = groups_of(values, group_size)
        step = (groups.amax(1) - groups.amin(1)) / (2**bits - 1)
        error = (groups_of(quantized, group_size) - groups).abs().amax(1)
        assert (error <= step / 2 + 1e-6 * groups.abs().amax(1)).all()

    def test_by_hand(self) -> None:
        values = torch.tensor([[0.0, 0.4, 1.6, 3.0], [-1.0, -0.9, 0.4, 2.0]])
        expected = torch.tensor([[0.0, 0.0, 2.0, 3.0], [-1.0, -1.0, 0.0, 2.0]])
        assert torch.equal(RoundToNearest(2).quantize(Weight("w", values)), expected)


class TestSymmetric(QuantizerAlgebra):
    def make(self, bits: int, group_size: int | None) -> Quantizer:
        return RoundToNearest(bits, group_size, symmetric=True)

    @settings(max_examples=60, deadline=None)
    @given(drawn=weights(), bits=st.integers(2, 8))
    def test_no_entry_moves_by_more_than_half_a_step(self, drawn: tuple[Tensor, int | None], bits: int) -> None:
        values, group_size = drawn
        quantizer = self.make(bits, group_size)
        quantized = quantizer.quantize(Weight("w", values))
        groups = groups_of(values, group_size)
        step = groups.abs().amax(1) / (2 ** (bits - 1) - 1)
        error = (groups_of(quantized, group_size) - groups).abs().amax(1)
        assert (error <= step / 2 + 1e-6 * groups.abs().amax(1)).all()
        assert torch.equal(quantizer.quantize(Weight("w", -values)), -quantized)

    def test_by_hand(self) -> None:
        values = torch.tensor([[0.0, 0.4, -0.8, -3.0], [0.6, 0.4, 0.1, 1.0]])
        expected = torch.tensor([[0.0, 0.0, -1.0, -3.0], [2 / 3, 1 / 3, 0.0, 1.0]])
        torch.testing.assert_close(RoundToNearest(3, symmetric=True).quantize(Weight("w", values)), expected)


class TestKMeans(QuantizerAlgebra):
    def make(self, bits: int, group_size: int | None) -> Quantizer:
        return KMeans(bits, group_size)

    @settings(max_examples=60, deadline=None)
    @given(drawn=weights(), bits=st.integers(2, 4))
    def test_error_is_not_above_that_of_rounding(self, drawn: tuple[Tensor, int | None], bits: int) -> None:
        values, group_size = drawn
        weight = Weight("w", values)
        errors = [
            groups_of(quantizer.quantize(weight) - values, group_size).double().square().sum(1)
            for quantizer in (self.make(bits, group_size), RoundToNearest(bits, group_size))
        ]
        assert (errors[0] <= errors[1] + 1e-9 * groups_of(values, group_size).double().square().sum(1)).all()

    def test_finds_clusters(self) -> None:
        values = torch.tensor([[0.0, 0.2, 5.0, 5.2, 5.4, 9.0, 9.2, 100.0, 100.4]])
        expected = torch.tensor([[0.1, 0.1, 5.2, 5.2, 5.2, 9.1, 9.1, 100.2, 100.2]])
        torch.testing.assert_close(KMeans(2).quantize(Weight("w", values)), expected)

    def test_iterations_are_checked(self) -> None:
        with pytest.raises(ArgumentError, match="iterations is 0"):
            KMeans(iterations=0)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_precomputed_weights_take_the_places_of_the_models(name: str, tmp_path: Path) -> None:
    """GPT-2 stores [in, out], and some of its weights are square."""
    source, model = decoder(name), decoder(name)
    quantize_model(source, RoundToNearest(3))
    prefix, layers = decoder_layers(source)
    names = [f"{linear.name}.weight" for linear in linear_layers(layers, prefix)]
    state = source.state_dict()
    save_file({name: state[name].contiguous() for name in names}, tmp_path / "weights.safetensors")
    quantize_model(model, Precomputed(tmp_path / "weights.safetensors"))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_precomputed_files_are_checked(tmp_path: Path) -> None:
    model = decoder()
    with pytest.raises(CheckpointError, match="no file"):
        Precomputed(tmp_path / "none.safetensors")
    (tmp_path / "foreign").write_text("not tensors")
    with pytest.raises(CheckpointError, match="no safetensors file"):
        Precomputed(tmp_path / "foreign")
    save_file({"a": torch.zeros(2)}, tmp_path / "other")
    with pytest.raises(CheckpointError, match="no tensor 'model"):
        check_fits(model, Precomputed(tmp_path / "other"))
    wrong: dict[str, Any] = {"model.layers.0.self_attn.q_proj.weight": torch.zeros(16, 15)}
    save_file(wrong, tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"the model's is \[16, 16\]"):
        check_fits(model, Precomputed(tmp_path / "other"))


@pytest.mark.parametrize("name", ["gpt2", "llama", "opt"])
@pytest.mark.parametrize(("embeddings", "head"), [(False, False), (True, False), (False, True)])
def test_only_what_is_asked_for_is_quantised(name: str, embeddings: bool, head: bool) -> None:
    model, original = decoder(name), decoder(name).state_dict()
    quantize_model(model, RoundToNearest(2), embeddings=embeddings, head=head)
    prefix, layers = decoder_layers(model)
    wanted = {id(linear.module.weight) for linear in linear_layers(layers, prefix)}
    wanted |= {id(model.get_input_embeddings().weight)} if embeddings else set()
    wanted |= {id(model.get_output_embeddings().weight)} if head else set()
    for path, parameter in model.named_parameters():
        assert torch.equal(parameter, original[path]) is (id(parameter) not in wanted), path
