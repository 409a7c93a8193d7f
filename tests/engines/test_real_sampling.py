"""Training data from vLLM itself, `make test-engines`; skipped where vLLM is not installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ctrlg.distillation.pipeline import distill
from ctrlg.distillation.pipeline_settings import DistillationSettings
from ctrlg.distillation.sampling.chunks import sample_chunks
from ctrlg.distillation.sampling.in_vllm import VllmSampler
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.settings import ChunkSettings, SamplingSettings
from ctrlg.distillation.sampling.storage import read_embeddings, read_sequences
from ctrlg.loading.embedded import default_model_path
from ctrlg.loading.language_models import load_language_model

pytest.importorskip("vllm", reason="vLLM is not installed: make test-engines")


@pytest.fixture(scope="module", autouse=True)
def little_memory() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"))
        yield


@pytest.fixture(scope="module")
def model() -> Any:
    return load_language_model("default")[0]


@pytest.fixture(scope="module")
def sampler() -> Iterator[VllmSampler]:
    with VllmSampler(default_model_path(), torch.float32, longest=16) as engine:
        yield engine


def test_files_hold_what_the_language_model_writes(model: Any, sampler: VllmSampler, tmp_path: Path) -> None:
    eos = 0
    prompts = [[eos], [eos, 504, 2767], [504, 3543, 314]]
    wanted = ChunkSettings(SamplingSettings(10), chunk_size=48, batch_size=32, embeddings=True, next_tokens=4, seed=2)
    (file,) = sample_chunks(model, prompts, eos, wanted, tmp_path / "samples", sampler=sampler)
    sequences = read_sequences(file)
    mask = token_mask(sequences, eos)
    assert sequences.shape == (48, 10) and bool((sequences[~mask] == eos).all())
    assert len({tuple(row) for row in sequences.tolist()}) > 40
    assert read_embeddings(f"{file}.embeddings", mask).shape == (int(mask.sum()), model.config.hidden_size)
    # Sampled from the whole distribution, a token has on average the log-probability of its distribution's entropy.
    differences = []
    for number, prompt in enumerate(prompts):
        rows, kept = sequences[number::3], mask[number::3]
        with torch.no_grad():
            logits = model(torch.cat([torch.tensor([prompt] * len(rows)), rows], 1)).logits
        logs = logits[:, len(prompt) - 1 : -1].log_softmax(-1)
        surprise = -logs.gather(2, rows[:, :, None])[:, :, 0]
        differences.append((surprise + (logs.exp() * logs).sum(2))[kept])
    difference = torch.cat(differences)
    assert abs(float(difference.mean())) < 4 * float(difference.std()) / len(difference) ** 0.5
    again = sample_chunks(model, prompts, eos, wanted, tmp_path / "again", sampler=sampler)
    assert (read_sequences(again[0]) == sequences).all(1).float().mean() > 0.8  # the same seeds


def test_greedy_sequences_are_those_of_transformers(model: Any, sampler: VllmSampler, tmp_path: Path) -> None:
    wanted = ChunkSettings(SamplingSettings(10, top_k=1), chunk_size=3, batch_size=3)
    prompts = [[0], [0, 504, 2767], [504, 3543, 314]]
    (there,) = sample_chunks(model, prompts, 0, wanted, tmp_path / "there", sampler=sampler)
    (here,) = sample_chunks(model, prompts, 0, wanted, tmp_path / "here")
    assert torch.equal(read_sequences(there), read_sequences(here))


def test_distilling_with_its_samples(tmp_path: Path) -> None:
    settings = DistillationSettings(
        "default",
        tmp_path / "job",
        hidden_states=8,
        sequences=48,
        held_out=8,
        max_new_tokens=8,
        soft_steps=1,
        one_hot_steps=1,
        next_tokens=4,
        batch_size=48,
        engine="vllm",
    )
    assert distill(settings).outcome.training_tokens > 48
