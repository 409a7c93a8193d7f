"""GGUF files say what the model says, to the last digits of a float16 step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, dequantize
from helpers.decoders import EOS, TOKENIZER, decoder, difference, small_llama

from ctrlg.errors import ArgumentError
from ctrlg.loading.language_models import load_language_model
from normtweaking import RoundToNearest, quantize_model
from normtweaking.rounding.export import BLOCK, q4_1_blocks, q8_0_blocks, write_gguf


def test_blocks_are_those_of_gguf() -> None:
    generator = torch.Generator().manual_seed(0)
    step = torch.rand(3, 2, generator=generator).half().float()
    least = torch.randn(3, 2, generator=generator).half().float()
    codes = torch.randint(16, (3, 2 * BLOCK), generator=generator)
    wide = (step.repeat_interleave(BLOCK, 1), least.repeat_interleave(BLOCK, 1))
    found = dequantize(q4_1_blocks(codes, step, least), GGMLQuantizationType.Q4_1)
    np.testing.assert_allclose(found, (codes * wide[0] + wide[1]).numpy(), rtol=1e-6)
    codes = torch.randint(-128, 128, (3, 2 * BLOCK), generator=generator)
    found = dequantize(q8_0_blocks(codes, step), GGMLQuantizationType.Q8_0)
    np.testing.assert_allclose(found, (codes * wide[0]).numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("form", "quantizer"),
    [
        ("Q4_1", RoundToNearest(4)),
        ("Q4_1", RoundToNearest(4, 32)),
        ("Q4_1", RoundToNearest(3, 32)),
        ("Q8_0", RoundToNearest(8, symmetric=True)),
        ("Q8_0", RoundToNearest(4, 32, symmetric=True)),
    ],
)
@pytest.mark.parametrize("tied", [True, False])
def test_levels_that_the_format_holds_are_kept(
    form: str, quantizer: RoundToNearest, tied: bool, tmp_path: Path
) -> None:
    model = small_llama(tied)
    quantize_model(model, quantizer)
    size = write_gguf(model, TOKENIZER, tmp_path / "model.gguf", form, quantizer)
    assert size == (tmp_path / "model.gguf").stat().st_size
    loaded, tokenizer = load_language_model(tmp_path / "model.gguf")
    assert difference(model, loaded) < 0.05  # embeddings, steps and minima are in float16
    text = "the dog runs, and a cat"
    assert tokenizer(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert tokenizer.eos_token_id == EOS
    assert loaded.config.tie_word_embeddings == tied


def test_other_levels_are_rounded_once_more(tmp_path: Path) -> None:
    """Eight bits are near enough for anything; four are not what was asked for."""
    model = small_llama()
    quantize_model(model, RoundToNearest(4, 16))
    write_gguf(model, TOKENIZER, tmp_path / "eight.gguf", "Q8_0", RoundToNearest(4, 16))
    write_gguf(model, TOKENIZER, tmp_path / "four.gguf", "Q4_1")
    errors = [difference(model, load_language_model(tmp_path / name)[0]) for name in ("eight.gguf", "four.gguf")]
    assert 3 * errors[0] < errors[1]
    assert (tmp_path / "four.gguf").stat().st_size < (tmp_path / "eight.gguf").stat().st_size


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="'Q5_K' is unknown"):
        write_gguf(small_llama(), TOKENIZER, tmp_path / "model.gguf", "Q5_K")
    with pytest.raises(ArgumentError, match="'gpt2' cannot be written"):
        write_gguf(decoder("gpt2"), TOKENIZER, tmp_path / "model.gguf", "Q8_0")
    with pytest.raises(ArgumentError, match="16 inputs"):
        write_gguf(decoder("llama"), TOKENIZER, tmp_path / "model.gguf", "Q8_0")
    assert not list(tmp_path.iterdir())
