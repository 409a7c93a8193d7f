"""`ctrlg distill` from a tiny model of Hugging Face's format to sentences that keep a constraint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import END_OF_TEXT, tiny_language_model, tiny_tokenizer
from rich.console import Console

import ctrlg
from ctrlg.distillation import pipeline
from ctrlg.distillation.em.log import read_log
from ctrlg.distillation.pipeline import distill
from ctrlg.distillation.pipeline_settings import DistillationSettings
from ctrlg.errors import ArgumentError, CheckpointError, DataError, VocabularyError
from ctrlg.files.locks import Lock
from ctrlg.loading.language_models import load_language_model

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random language model that its tokenizer and any user of the hub's format can open."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny_tokenizer()
    end = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    model: Any = tiny_language_model(len(tokenizer), seed=1, eos_token_id=int(end), layers=2)  # type: ignore[arg-type]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def settings(model: Path, output: Path) -> DistillationSettings:
    return DistillationSettings(
        model=str(model),
        output=output,
        hidden_states=6,
        sequences=120,
        held_out=40,
        max_new_tokens=8,
        soft_steps=3,
        one_hot_steps=2,
        next_tokens=8,
        batch_size=50,
        max_bytes=60_000,
    )


def test_a_model_becomes_an_hmm_that_guides_it(model_folder: Path, tmp_path: Path) -> None:
    result = distill(settings(model_folder, tmp_path), QUIET)
    outcome = result.outcome
    assert outcome.unigram + 0.1 < outcome.trained
    assert outcome.file_bytes <= 60_000
    assert outcome.compressed == pytest.approx(outcome.trained, abs=0.2)
    assert outcome.unigram < outcome.language_model < 0
    model, tokenizer = load_language_model(model_folder)
    hmm = ctrlg.load_hmm(tmp_path / "compressed")
    texts = ctrlg.generate(model, tokenizer, hmm, ctrlg.Keywords(["dog"]), suffix="", max_new_tokens=8, progress=False)
    assert texts[0].satisfied
    assert "dog" in texts[0].text
    card = (tmp_path / "README.md").read_text()
    assert f"| HMM, compressed | {outcome.compressed:.3f} |" in card
    assert all(stage in card for stage in ("sampling", "initialisation", "training", "compression"))


STAGES = ("sample_chunks", "latent_variable_distillation", "describe_next_tokens", "train", "quantize")


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_stopped_in_any_stage_goes_on_and_ends_the_same(
    stage: str, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = distill(settings(model_folder, tmp_path / "whole"), QUIET)

    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    broken = settings(model_folder, tmp_path / "broken")
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, stage, stop)
        with pytest.raises(KeyboardInterrupt):
            distill(broken, QUIET)
    again = distill(broken, QUIET)
    assert again.outcome == whole.outcome
    for name in ("samples/data.train.0.next_tokens", "compressed/model.safetensors", "hmm/best/model.safetensors"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_start_that_failed_does_not_claim_the_folder(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot load the language model"):
        distill(settings(tmp_path / "nowhere", tmp_path / "job"), QUIET)
    with pytest.raises(VocabularyError, match="no token '</s>'"):
        distill(replace(settings(model_folder, tmp_path / "job"), eos_token="</s>"), QUIET)
    distill(settings(model_folder, tmp_path / "job"), QUIET)


def test_another_size_compresses_again_and_trains_no_more(model_folder: Path, tmp_path: Path) -> None:
    job = settings(model_folder, tmp_path)
    distill(job, QUIET)
    trained = (tmp_path / "hmm" / "log.jsonl").read_bytes()
    smaller = distill(replace(job, bits=2), QUIET)
    assert smaller.hmm.bits == 2
    assert (tmp_path / "hmm" / "log.jsonl").read_bytes() == trained


def test_soft_counts_know_the_temperature_of_the_draws(model_folder: Path, tmp_path: Path) -> None:
    cold = replace(settings(model_folder, tmp_path), temperature=0.3, sequences=300)
    cold = replace(cold, soft_steps=8, one_hot_steps=0, soft_prior=1.0, one_hot_prior=1.0)
    soft = distill(cold, QUIET).outcome
    hard = distill(replace(cold, soft_steps=0, one_hot_steps=8, output=tmp_path / "hard"), QUIET).outcome
    assert soft.trained > hard.trained - 0.05
    assert soft.trained > soft.unigram
    assert soft.trained > soft.first + 0.01


def test_another_job_in_the_folder_is_refused_before_any_work(model_folder: Path, tmp_path: Path) -> None:
    job = settings(model_folder, tmp_path)
    (tmp_path / "soft" / "checkpoint-0").mkdir(parents=True)
    (tmp_path / "distillation.json").write_text(
        json.dumps({"settings": {**vars(job), "output": "", "hidden_states": 7}, "seconds": {}})
    )
    with pytest.raises(ArgumentError, match="hidden_states 7, not 6"):
        distill(job, QUIET)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_states", 1),
        ("sequences", 0),
        ("bits", 9),
        ("bits", 0),
        ("next_tokens", 0),
        ("soft_steps", -1),
        ("one_hot_steps", -1),
        ("max_bytes", 0),
        ("soft_prior", -1.0),
        ("one_hot_prior", -1.0),
        ("seed", -1),
    ],
)
def test_settings_out_of_range_are_named(name: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=f"{name} is {value}"):
        replace(settings(tmp_path, tmp_path), **{name: value})


def test_no_steps_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="both 0"):
        replace(settings(tmp_path, tmp_path), soft_steps=0, one_hot_steps=0)


def test_one_hot_steps_go_on_from_the_best_of_the_soft_ones(model_folder: Path, tmp_path: Path) -> None:
    distill(settings(model_folder, tmp_path), QUIET)
    weights = "model.safetensors"
    assert (tmp_path / "hmm/checkpoint-0" / weights).read_bytes() == (tmp_path / "soft/best" / weights).read_bytes()
    logs = [read_log(tmp_path / stage / "log.jsonl") for stage in ("soft", "hmm")]
    assert [settings["next_tokens"] for settings, _ in logs] == [True, False]
    assert [settings["prior_strength"] for settings, _ in logs] == [50.0, 1000.0]
    assert [records[-1].step for _, records in logs] == [3, 2]


def test_a_chat_template_needs_prompts(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="chat template without prompts"):
        replace(settings(tmp_path, tmp_path), chat_template=True)


def test_hard_counts_need_no_draws(model_folder: Path, tmp_path: Path) -> None:
    result = distill(replace(settings(model_folder, tmp_path), soft_steps=0, seed=2), QUIET)
    assert not list(tmp_path.glob("samples/*.next_tokens"))
    assert torch.isfinite(torch.tensor(result.outcome.compressed))


def test_a_folder_of_others_a_second_job_and_a_damaged_record_are_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("my card")
    with pytest.raises(ArgumentError, match=r"holds what no distillation wrote: README\.md"):
        distill(settings(tmp_path / "none", mine), QUIET)
    assert [(entry.name, entry.read_text()) for entry in mine.iterdir()] == [("README.md", "my card")]
    job = tmp_path / "job"
    with Lock(job / pipeline.RECORD), pytest.raises(ArgumentError, match=r"another process .* is distilling into"):
        distill(settings(tmp_path / "none", job), QUIET)
    for content in ("", "{", "[]", '{"settings": {}}', '{"settings": {}, "seconds": {"sampling": "x"}}', "\0" * 9):
        (job / pipeline.RECORD).write_text(content)
        with pytest.raises(DataError, match=r"distillation\.json is damaged") as caught:
            distill(settings(tmp_path / "none", job), QUIET)
        assert caught.value.hint
        assert (job / pipeline.RECORD).read_text() == content


def test_a_job_that_keeps_few_vectors_and_has_little_time_ends_with_what_it_has(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "CHUNK", 20)
    job = replace(settings(model_folder, tmp_path), batch_size=20, embedded_sequences=30, soft_sequences=40)
    limited = replace(job, soft_steps=500, one_hot_steps=500, sequences=20_000, seconds=8.0)
    result = distill(limited, QUIET)
    drawn = sorted(file.name for file in (tmp_path / "samples").glob("data.train.*") if file.is_file())
    chunks = len([name for name in drawn if name.endswith(".next_tokens")])
    assert 2 <= chunks < 1_000
    assert [name for name in drawn if name.endswith(".embeddings")] == [
        "data.train.0.embeddings",
        "data.train.1.embeddings",
    ]
    assert json.loads((tmp_path / "soft" / "resume" / "state.json").read_text())["progress"]["finished"]
    assert result.outcome.trained > result.outcome.unigram
    again = distill(limited, QUIET)
    assert again.outcome == result.outcome
