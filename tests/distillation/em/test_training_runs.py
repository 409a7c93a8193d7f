"""Whole training runs on a tiny HMM: what is saved, resuming, kills, early stopping, quantisation."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import training_runs
from helpers.training_runs import EOS, environment, make_run, quiet_train, settings_in, steps_in_log

from ctrlg.distillation.em import trainer
from ctrlg.distillation.em.checkpoints import RunFolder
from ctrlg.distillation.em.log import read_log
from ctrlg.distillation.em.plot import check_plot
from ctrlg.distillation.em.step import mean_log_likelihood
from ctrlg.distillation.sampling.samples import Samples, token_mask
from ctrlg.distillation.sampling.storage import read_sequences, write_samples
from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.hmm import HMM
from ctrlg.quantization import norm_q
from ctrlg.quantization.methods import quantize_distributions

PARAMETERS = "model.safetensors"


def test_the_last_and_the_best_checkpoint_are_saved(folder: Path) -> None:
    result = quiet_train(settings_in(folder, save_per_step=1000))
    assert result.checkpoint.name == "checkpoint-10" and result.steps == 6
    dev = read_sequences(folder / "samples" / "tiny.dev")
    best = mean_log_likelihood(HMM.from_pretrained(result.best), dev, 32)
    assert best.per_token == pytest.approx(result.best_dev, abs=1e-9)
    _, records = read_log(folder / "log.jsonl")
    assert [record.checkpoint for record in records] == [0, 1, 2, 3, 4, 7, 10]
    assert max(record.dev_per_token for record in records) == result.best_dev
    assert records[-1].dev_per_token > records[0].dev_per_token + 0.1
    assert [path.name for path in (folder / "hmm" / "resume").iterdir() if path.is_dir()] == []


def test_bfloat16_products_train_as_well(tmp_path: Path) -> None:
    values = []
    for bfloat16 in (False, True):
        make_run(tmp_path / str(bfloat16))
        result = quiet_train(settings_in(tmp_path / str(bfloat16), bfloat16=bfloat16))
        values.append((result.best_dev, HMM.from_pretrained(result.checkpoint).beta))
    assert values[1][0] == pytest.approx(values[0][0], abs=1e-3)
    assert not torch.equal(values[0][1], values[1][1])  # the option reaches the products


def test_checkpoints_are_kept_whenever_so_many_chunks_were_read(folder: Path) -> None:
    quiet_train(settings_in(folder, save_per_step=2))
    kept = {path.name for path in (folder / "hmm").glob("checkpoint-*")}
    assert kept == {f"checkpoint-{number}" for number in (0, 2, 4, 7, 10)}


def test_likelihoods_are_divided_by_their_own_counts(folder: Path) -> None:
    result = quiet_train(settings_in(folder, em_schedule="1,1"))
    model = HMM.from_pretrained(result.checkpoint)
    _, records = read_log(folder / "log.jsonl")
    dev = read_sequences(folder / "samples" / "tiny.dev")
    train = read_sequences(folder / "samples" / "tiny.train.0")[: len(dev)]
    for rows, per_token, per_sequence in (
        (train, records[-1].train_per_token, records[-1].train_per_sequence),
        (dev, records[-1].dev_per_token, records[-1].dev_per_sequence),
    ):
        total = float(model.log_likelihood(rows).double().sum())
        # The batches leave padding out, which a model that is no distilled one does not explain for free.
        kept = sum(float(model.log_likelihood(row[None, : int(token_mask(row[None], EOS).sum()) + 1])) for row in rows)
        assert total <= kept
        assert per_token is not None and per_sequence is not None
        assert per_sequence * len(rows) == pytest.approx(per_token * int(token_mask(rows, EOS).sum()))
        assert total - 1e-3 <= per_sequence * len(rows) <= kept + 1e-3


def test_runs_killed_at_random_moments_end_with_the_same_bits(tmp_path: Path) -> None:
    command = [sys.executable, training_runs.__file__, str(tmp_path), "5", "3"]
    output = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert output.returncode == 0, output.stderr
    assert output.stdout.count("killed after") == 5
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    checkpoints = sorted(path.name for path in (whole / "hmm").iterdir() if path.name != "resume")
    assert checkpoints == sorted(path.name for path in (killed / "hmm").iterdir() if path.name != "resume")
    for name in checkpoints:
        assert (whole / "hmm" / name / PARAMETERS).read_bytes() == (killed / "hmm" / name / PARAMETERS).read_bytes()
    assert steps_in_log(whole / "log.jsonl") == steps_in_log(killed / "log.jsonl")


def test_a_finished_run_started_again_does_nothing(folder: Path) -> None:
    quiet_train(settings_in(folder))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = quiet_train(settings_in(folder))
    assert again.already_finished and again.checkpoint.name == "checkpoint-10"
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after == before


def test_another_run_in_the_folder_is_refused_but_a_finished_one_may_be_continued(folder: Path) -> None:
    settings = settings_in(folder)
    quiet_train(settings)
    with pytest.raises(CheckpointError, match="finished run with other settings: seed was 5 and is 6"):
        quiet_train(replace(settings, seed=6))
    longer = quiet_train(replace(settings, checkpoint=10, em_schedule="2,1"))
    assert longer.checkpoint.name == "checkpoint-12"
    _, records = read_log(folder / "log.jsonl")
    assert longer.best_dev == max(record.dev_per_token for record in records)


def test_changed_samples_are_noticed(folder: Path) -> None:
    quiet_train(settings_in(folder))
    rows = read_sequences(folder / "samples" / "tiny.train.1")
    write_samples(folder / "samples" / "tiny.train.1", Samples(rows.flip(0), None))
    with pytest.raises(CheckpointError, match="data was"):
        quiet_train(settings_in(folder))


def test_one_run_at_a_time(folder: Path) -> None:
    with RunFolder(folder / "hmm").locked(), pytest.raises(ArgumentError, match=r"another process .* is training"):
        quiet_train(settings_in(folder))


def test_patience_ends_a_run_that_does_not_improve(folder: Path) -> None:
    # A prior this strong lets nothing change after the first steps: rounding decides what is better.
    result = quiet_train(settings_in(folder, em_schedule="60,1", prior_strength=1e9, patience=2, dropout=0.0))
    assert result.stopped_early and result.steps < 60
    _, records = read_log(folder / "log.jsonl")
    assert [record.best for record in records[-2:]] == [False, False]
    assert result.checkpoint.is_dir() and result.checkpoint.name == f"checkpoint-{records[-1].checkpoint}"
    assert quiet_train(
        settings_in(folder, em_schedule="60,1", prior_strength=1e9, patience=2, dropout=0.0)
    ).already_finished


@pytest.mark.parametrize("method", ["norm-q", "norm-q-max", "log-norm-q", "k-means"])
def test_rows_are_quantised_every_so_many_steps_and_at_the_last(folder: Path, method: str) -> None:
    quantised = {"quantization_step": 2, "bits": 3, "quantization_method": method}
    settings = settings_in(folder, em_schedule="5,1", save_per_step=1, **quantised)
    result = quiet_train(settings)
    _, records = read_log(folder / "log.jsonl")
    assert [record.quantised for record in records] == [False, False, True, False, True, True]
    assert all(record.bits == 3 for record in records if record.quantised)
    assert result.best_checkpoint in (2, 4, 5), "only quantised models are compared"
    # The first quantisation is that of the step float EM takes to the same place.
    (folder / "float").mkdir()
    make_run(folder / "float")
    quiet_train(settings_in(folder / "float", em_schedule="2,1"))
    plain = HMM.from_pretrained(folder / "float" / "hmm" / "checkpoint-2")
    expected, _, initial = quantize_distributions(
        plain.transition.to_dense(), plain.emission.to_dense(), plain.initial, method, 3
    )
    second = HMM.from_pretrained(folder / "hmm" / "checkpoint-2")
    torch.testing.assert_close(second.transition.to_dense(), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(second.initial, initial, rtol=1e-5, atol=1e-7)


def test_norm_q_in_training_is_the_published_norm_q(folder: Path) -> None:
    quiet_train(settings_in(folder, em_schedule="1,1", quantization_step=1, bits=8))
    (folder / "float").mkdir()
    make_run(folder / "float")
    quiet_train(settings_in(folder / "float", em_schedule="1,1"))
    plain = HMM.from_pretrained(folder / "float" / "hmm" / "checkpoint-1").emission.to_dense()
    emission = HMM.from_pretrained(folder / "hmm" / "checkpoint-1").emission.to_dense()
    torch.testing.assert_close(emission, norm_q(plain, 8), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["log.txt", "runs.tsv"])
def test_a_text_log_has_ctrlg_s_lines(folder: Path, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Checkpoint, train and dev log-likelihood of a sequence, as Norm-Q's notebook reads them."""
    other = tmp_path_factory.mktemp("json")
    make_run(other)
    quiet_train(settings_in(other))
    _, records = read_log(other / "log.jsonl")
    settings = settings_in(folder, log_file=str(folder / name))
    quiet_train(settings)
    first, *lines = (folder / name).read_text().splitlines()
    assert ast.literal_eval(first)["em_schedule"] == settings.em_schedule
    for line, record in zip(lines, records, strict=True):
        step, train, dev = line.strip().split("\t")
        assert (int(step), float(dev)) == (record.checkpoint, record.dev_per_sequence)
        assert train == "-1.0" if record.train_per_sequence is None else float(train) == record.train_per_sequence


def test_a_text_log_cannot_be_drawn_and_says_so_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"log\.txt"):
        check_plot(tmp_path / "log.txt", tmp_path / "figure.png")
    check_plot(tmp_path / "log.jsonl", tmp_path / "figure.png")


def test_a_run_ends_within_its_seconds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10_000))
    monkeypatch.setattr(trainer.time, "monotonic", lambda: float(next(now)))
    limited = settings_in(folder, em_schedule="200,1", seconds=60.0)
    result = quiet_train(limited)
    assert 1 <= result.steps < 60
    assert result.best.is_dir()
    assert result.checkpoint.is_dir()
    assert quiet_train(limited).already_finished
