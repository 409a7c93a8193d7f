"""What a training run refuses before any work, and how it says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.training_runs import CHUNKS, STATES, VOCABULARY, quiet_train, settings_in
from safetensors.torch import load_file, save_file

from ctrlg.distillation.sampling.samples import Samples
from ctrlg.distillation.sampling.storage import write_samples
from ctrlg.errors import ArgumentError, CheckpointError, CtrlGError, DataError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dropout": 1.0}, "dropout is 1"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"patience": 0}, "patience is 0"),
        ({"em_schedule": "1,4"}, "a step over 4 chunks, but there are 3"),
        ({"em_schedule": "ten"}, "em_schedule 'ten'"),
        ({"bits": 0}, "bits is 0"),
        ({"bits": 9, "quantization_method": "k-means"}, "bits is 9"),
        ({"quantization_method": "no-method"}, "no-method"),
        ({"quantization_step": -1}, "quantization_step is -1"),
        ({"pseudocount": float("nan")}, "pseudocount is nan"),
        ({"sample_length": 0}, "sample_length is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"total_chunks": 5}, r"no such data file: .*tiny\.train\.3, .*tiny\.train\.4"),
        ({"checkpoint": 7}, "no such checkpoint: .*checkpoint-7"),
        ({"prior_strength": 1.0, "prior_checkpoint": 8}, "no such checkpoint: .*checkpoint-8"),
        ({"data": "/nowhere"}, "no such data file: /nowhere/tiny.dev"),
    ],
)
def test_bad_settings_are_refused_before_any_work(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CtrlGError, match=message):
        quiet_train(settings_in(folder, **changes))
    assert not (folder / "log.jsonl").exists()


@pytest.mark.parametrize("changes", [{}, {"checkpoint": 7}, {"prior_strength": 1.0, "prior_checkpoint": 8}])
def test_a_mistyped_folder_is_not_made(folder: Path, changes: dict[str, Any]) -> None:
    hmm = folder / ("hmm" if changes else "typo")
    before = sorted(folder.rglob("*"))
    log_file = str(folder / "logs" / "log.jsonl")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        quiet_train(settings_in(folder, hmm=str(hmm), log_file=log_file, **changes))
    assert sorted(folder.rglob("*")) == before


def test_token_ids_beyond_the_vocabulary_are_refused_with_their_file(folder: Path) -> None:
    rows = torch.randint(1, VOCABULARY, (8, 10))
    rows[3, 3] = VOCABULARY
    write_samples(folder / "samples" / f"tiny.train.{CHUNKS - 1}", Samples(rows, None))
    with pytest.raises(CtrlGError, match=rf"tiny\.train\.2: token id {VOCABULARY} is outside"):
        quiet_train(settings_in(folder))
    assert not (folder / "log.jsonl").exists()


def test_chunks_of_several_lengths_are_refused_unless_cut(folder: Path) -> None:
    write_samples(folder / "samples" / "tiny.train.1", Samples(torch.randint(1, VOCABULARY, (8, 7)), None))
    with pytest.raises(DataError, match=r"2 lengths: \[7, 10\]"):
        quiet_train(settings_in(folder))
    quiet_train(settings_in(folder, sample_length=7))


def test_checkpoints_with_nan_are_refused(folder: Path) -> None:
    file = folder / "hmm" / "checkpoint-0" / "model.safetensors"
    tensors = load_file(file)
    tensors["alpha_exp"][STATES - 1, 0] = float("nan")
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=f"row {STATES - 1} of alpha_exp"):
        quiet_train(settings_in(folder))


def test_an_output_that_cannot_be_written_is_refused(folder: Path) -> None:
    (folder / "file").write_text("in the way")
    with pytest.raises(ArgumentError, match="cannot make the folder"):
        quiet_train(settings_in(folder, log_file=str(folder / "file" / "log.jsonl")))


def test_a_log_that_was_shortened_is_refused(folder: Path) -> None:
    settings = settings_in(folder)
    quiet_train(settings)
    state = folder / "hmm" / "resume" / "state.json"
    content = json.loads(state.read_text())
    content["progress"]["finished"] = False
    state.write_text(json.dumps(content))
    (folder / "log.jsonl").write_text("")
    with pytest.raises(DataError, match="has 0 bytes"):
        quiet_train(settings)


def test_nothing_of_others_is_replaced(folder: Path) -> None:
    best = folder / "hmm" / "best"
    best.mkdir()
    (best / "notes.txt").write_text("mine")
    with pytest.raises(ArgumentError, match=r"best holds what was not written here: notes\.txt"):
        quiet_train(settings_in(folder))
    (best / "notes.txt").rename(folder / "notes.txt")
    with pytest.raises(DataError, match=r"notes\.txt, line 1, is not of a training log"):
        quiet_train(settings_in(folder, log_file=str(folder / "notes.txt")))
    (folder / "notes.txt").write_text('{"mine": 1}\n')
    with pytest.raises(DataError, match="line 1, is not of a training log"):
        quiet_train(settings_in(folder, log_file=str(folder / "notes.txt")))
    assert (folder / "notes.txt").read_text() == '{"mine": 1}\n'
