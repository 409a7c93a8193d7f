"""Samples from vLLM, against a fake of the few calls: the same kinds of files, resumed, refused, shut down."""

from __future__ import annotations

import json
import os
import runpy
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from helpers import tiny_models
from helpers.engines import fake_llm
from helpers.engines.fake_llm import Started
from helpers.sampling_job import EOS, PROMPTS, SETTINGS, tiny_language_model
from torch.testing import assert_close

from ctrlg.distillation.pipeline import distill
from ctrlg.distillation.pipeline_settings import DistillationSettings
from ctrlg.distillation.sampling import teacher_forced
from ctrlg.distillation.sampling.chunks import sample_chunks
from ctrlg.distillation.sampling.in_vllm import VllmSampler, engine_options, require_vllm, vllm_sampler
from ctrlg.distillation.sampling.next_tokens import read_next_tokens
from ctrlg.distillation.sampling.samples import NextTokens, SamplingSettings, continue_prompts, token_mask
from ctrlg.distillation.sampling.storage import read_description, read_embeddings, read_sequences
from ctrlg.distillation.sampling.teacher_forced import read_samples
from ctrlg.errors import ArgumentError

MODEL = tiny_language_model()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    return fake_llm.install(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    MODEL.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def sampler(folder: Path) -> VllmSampler:
    return VllmSampler(folder, torch.float32, longest=16, options={"seed": 3})


@pytest.mark.parametrize("settings", [SamplingSettings(6), SamplingSettings(6, 0.7, top_k=8, top_p=0.9)])
@pytest.mark.parametrize("prompts", [[[EOS]], [[3, 4, 2], [5, 1, 1]]])
def test_one_pass_finds_what_sampling_keeps(
    settings: SamplingSettings, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(teacher_forced.LOGITS, "cpu", 7 * 6 * 12)  # seven rows at once
    prompt_of = torch.arange(40) % len(prompts)
    random = torch.rand(2, 6, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = NextTokens(5, random[1])
    rows = torch.tensor(prompts), prompt_of
    sampled = continue_prompts(MODEL, *rows, random[0], settings, EOS, embeddings=True, next_tokens=wanted)
    assert 0 < token_mask(sampled.sequences, EOS).float().mean() < 1
    read = read_samples(MODEL, *rows, sampled.sequences, settings, EOS, wanted)
    assert torch.equal(read.sequences, sampled.sequences)
    assert read.embeddings is not None and sampled.embeddings is not None
    assert read.embeddings.dtype == torch.float16
    assert_close(read.embeddings, sampled.embeddings, rtol=2e-3, atol=2e-3)
    assert read.next_tokens is not None and sampled.next_tokens is not None
    assert read.next_tokens.dtype == torch.int32
    assert (read.next_tokens == sampled.next_tokens).float().mean() > 0.99


def test_files_are_of_the_same_kind_and_say_which_engine_it_was(started: Started, folder: Path, tmp_path: Path) -> None:
    wanted = replace(SETTINGS, next_tokens=4, embedded_chunks=2)
    with sampler(folder) as engine:
        files = sample_chunks(MODEL, PROMPTS, EOS, wanted, tmp_path / "there", sampler=engine)
    sample_chunks(MODEL, PROMPTS, EOS, wanted, tmp_path / "here")
    names = [sorted(file.name.partition(".")[2] for file in tmp_path.glob(f"{name}*")) for name in ("there", "here")]
    assert names[0] == names[1] and len(names[0]) == 8
    for number, file in enumerate(files):
        sequences = read_sequences(file)
        mask = token_mask(sequences, EOS)
        assert sequences.shape == (23, 6) and bool((sequences[~mask] == EOS).all())
        assert len(read_next_tokens(file, mask, 12)) == int(mask.sum())
        if number < 2:
            assert len(read_embeddings(f"{file}.embeddings", mask)) == int(mask.sum())
    assert read_description(files[0])["settings"]["engine"] == "vllm"
    assert "engine" not in read_description(tmp_path / "here.0")["settings"]


def test_every_row_continues_its_prompt_with_a_seed_of_its_own(started: Started, folder: Path, tmp_path: Path) -> None:
    with sampler(folder) as engine:
        sample_chunks(MODEL, PROMPTS, EOS, replace(SETTINGS, embeddings=False), tmp_path / "out", sampler=engine)
    asked = sorted(prompt for prompt, _ in started.requests)
    assert asked == sorted(PROMPTS[row % len(PROMPTS)] for row in range(69))
    assert len({parameters.seed for _, parameters in started.requests}) == 69
    parameters = started.requests[0][1]
    assert parameters.stop_token_ids == [EOS] and parameters.ignore_eos and parameters.max_tokens == 6
    assert (
        started.options[0].items() >= {"model": str(folder), "dtype": "float32", "max_model_len": 16, "seed": 3}.items()
    )


def test_an_interrupted_job_ends_with_the_same_data(started: Started, folder: Path, tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(state: Any) -> None:
        if state.sequences > 40:
            raise Interrupted

    with sampler(folder) as engine:
        sample_chunks(MODEL, PROMPTS, EOS, SETTINGS, tmp_path / "whole", sampler=engine)
    with pytest.raises(Interrupted), sampler(folder) as engine:
        sample_chunks(MODEL, PROMPTS, EOS, SETTINGS, tmp_path / "stopped", progress=interrupt, sampler=engine)
    assert started.running == 0
    before = len(started.requests)
    with pytest.raises(ArgumentError, match="engine was 'vllm' and is None"):
        sample_chunks(MODEL, PROMPTS, EOS, SETTINGS, tmp_path / "stopped")
    with sampler(folder) as engine:
        sample_chunks(MODEL, PROMPTS, EOS, SETTINGS, tmp_path / "stopped", sampler=engine)
        assert len(started.requests) - before < 40
        sample_chunks(MODEL, PROMPTS, EOS, SETTINGS, tmp_path / "stopped", sampler=engine)
    for file in tmp_path.glob("whole*"):
        assert file.read_bytes() == (tmp_path / file.name.replace("whole", "stopped")).read_bytes()
    assert started.running == 0


def test_nothing_is_started_where_nothing_is_missing(started: Started, folder: Path) -> None:
    with sampler(folder):
        pass
    assert not started.options


def test_models_that_are_no_folder_are_written_to_one(started: Started) -> None:
    tokenizer = tiny_models.tiny_tokenizer()
    end = int(tokenizer.eos_token_id)  # type: ignore[arg-type]
    model = tiny_models.tiny_language_model(len(tokenizer))
    with ExitStack() as closing:
        engine = vllm_sampler("some.gguf", model, tokenizer, end, 8, {}, closing)
        first = engine.continue_prompts([[end]], [1], SamplingSettings(3), end)
        assert len(first[0]) <= 3
        written = Path(started.options[0]["model"])
        assert (written / "model.safetensors").is_file()
    assert not written.exists()
    assert started.environment["VLLM_WORKER_MULTIPROCESSING_METHOD"] == "spawn"  # numba may be there already
    assert "VLLM_WORKER_MULTIPROCESSING_METHOD" not in os.environ
    with pytest.raises(ArgumentError, match="temperature is"):
        engine.continue_prompts([[end]], [1], SamplingSettings(3, 0.001), end)


def test_without_vllm_there_is_an_error_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="vLLM is not installed"):
        require_vllm()
    with pytest.raises(ArgumentError, match="vLLM is not installed"):
        distill(DistillationSettings("nowhere", tmp_path / "out", engine="vllm"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["[1]", "{", "2"])
def test_options_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="engine_options"):
        engine_options(text)
    assert engine_options("") == {}
    assert engine_options(json.dumps({"seed": 1})) == {"seed": 1}


def test_the_script_samples_with_it(started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_models.tiny_tokenizer()
    end = cast(int, tokenizer.eos_token_id)
    tiny_models.tiny_language_model(len(tokenizer), eos_token_id=end).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    script = str(Path(__file__).parents[3] / "distillation" / "sample_data.py")
    (tmp_path / "prompts.txt").write_text("the dog\nrun\n")
    words = f"--model {tmp_path}/model --output {tmp_path}/out --prompts {tmp_path}/prompts.txt --chunk_size 6"
    words += ' --max_new_tokens 4 --embeddings --engine vllm --engine_options {"seed":5}'
    monkeypatch.setattr(sys, "argv", [script, *words.split()])
    runpy.run_path(script, run_name="__main__")
    sequences = read_sequences(tmp_path / "out")
    assert sequences.shape == (6, 4)
    read_embeddings(tmp_path / "out.embeddings", token_mask(sequences, int(tokenizer.eos_token_id)))  # type: ignore[arg-type]
    assert started.options[0].items() >= {"seed": 5, "max_model_len": 4 + len(tokenizer.encode("the dog"))}.items()
    assert started.running == 0


def test_distilling_with_it(started: Started, tmp_path: Path) -> None:
    tokenizer = tiny_models.tiny_tokenizer()
    end = cast(int, tokenizer.eos_token_id)
    tiny_models.tiny_language_model(len(tokenizer), eos_token_id=end).save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    sizes: dict[str, Any] = {"hidden_states": 4, "sequences": 30, "held_out": 6, "max_new_tokens": 6, "next_tokens": 4}
    steps: dict[str, Any] = {"soft_steps": 1, "one_hot_steps": 1}
    settings = DistillationSettings(str(tmp_path / "m"), tmp_path / "job", **sizes, **steps, engine="vllm")
    assert distill(settings).outcome.training_tokens > 30
    assert len(started.options) == 1 and started.running == 0  # one engine for all samples
    assert len(started.requests) == 30 + 6 + 6
    assert read_description(tmp_path / "job" / "samples" / "data.train.0")["settings"]["engine"] == "vllm"
    with pytest.raises(ArgumentError, match="engine 'vllm'"):
        distill(replace(settings, engine="transformers"))
