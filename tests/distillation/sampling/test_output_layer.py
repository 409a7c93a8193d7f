"""The layer that soft counts are made with: the distribution of the draws, or a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.sampling_job import EOS, VOCABULARY, tiny_language_model
from torch.testing import assert_close
from transformers import GraniteConfig, GraniteForCausalLM

from ctrlg.distillation.sampling.output_layer import output_layer, sampling_temperature
from ctrlg.distillation.sampling.samples import Samples, token_mask
from ctrlg.distillation.sampling.storage import write_samples
from ctrlg.errors import ArgumentError, DataError
from studies.data.teacher_forced import read_sentences_with

ROWS = [[EOS, 3, 5, EOS], [EOS, 7, EOS], [EOS, 2, 4, 6, 8, 10, EOS]]


def test_hidden_states_of_sentences_give_the_models_distribution() -> None:
    model = tiny_language_model()
    samples = read_sentences_with(model, ROWS, length=4, eos_token_id=EOS, batch_size=2)
    assert samples.sequences.tolist() == [[3, 5, EOS, EOS], [7, EOS, EOS, EOS], [2, 4, 6, 8]]
    assert samples.embeddings is not None
    assert len(samples.embeddings) == int(token_mask(samples.sequences, EOS).sum())
    expected = torch.cat(
        [model(torch.tensor([row[:length]])).logits[0] for row, length in zip(ROWS, (3, 2, 4), strict=True)]
    )
    found = output_layer(model, temperature=0.5)(samples.embeddings.float())
    assert_close(found, expected / 0.5, atol=2e-2, rtol=0)


@pytest.mark.parametrize("rows", [[], [[3, 4]], [[EOS]]])
def test_sentences_that_cannot_be_read_are_refused(rows: list[list[int]]) -> None:
    with pytest.raises(DataError):
        read_sentences_with(tiny_language_model(), rows, length=4, eos_token_id=EOS)


def test_a_model_that_scales_its_logits_is_refused() -> None:
    config = GraniteConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        logits_scaling=8.0,
        pad_token_id=None,
    )
    with pytest.raises(ArgumentError, match="changes its logits"):
        output_layer(GraniteForCausalLM(config).eval())


def test_samples_say_how_they_were_drawn(tmp_path: Path) -> None:
    samples = Samples(torch.tensor([[3, EOS]]), None)
    for name, drawn in {"warm": {"temperature": 2.0}, "cold": {"temperature": 0.5}, "top": {"top_k": 5}}.items():
        write_samples(tmp_path / name, samples, {"settings": drawn})
    write_samples(tmp_path / "silent", samples)
    assert sampling_temperature([tmp_path / "warm"]) == 2
    assert sampling_temperature([tmp_path / "silent"]) == 1
    with pytest.raises(DataError, match="temperatures"):
        sampling_temperature([tmp_path / "warm", tmp_path / "cold"])
    with pytest.raises(DataError, match="top_k"):
        sampling_temperature([tmp_path / "top"])
