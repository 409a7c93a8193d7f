"""The study of several HMMs, from folders to a table and a figure, with tiny models; then again, nothing left to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer
from helpers.training_runs import ROOT, environment

from ctrlg.distillation.sampling.samples import Samples
from ctrlg.distillation.sampling.storage import write_samples
from ctrlg.hmm import HMM


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hmms")
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    tiny_language_model(len(tokenizer), eos_token_id=eos).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    for seed, states in enumerate((3, 3, 5)):
        torch.manual_seed(seed)
        HMM(states, len(tokenizer), eos).save_pretrained(folder / "hmms" / f"seed-{seed}")
    write_samples(folder / "test", Samples(torch.tensor([[5, 6, eos, eos], [7, 8, 9, eos]]), None))
    sets = [{"concept_set_idx": 3, "concepts": ["dog"], "references": ["The dog runs in the park."]}]
    (folder / "sets.jsonl").write_text("\n".join(map(json.dumps, sets)))
    return folder


def study(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "studies.data.hmms", "--test", str(folder / "test")]
    command += ["--hmms", *map(str, sorted((folder / "hmms").iterdir())), "--base_model", str(folder / "model")]
    command += ["--dataset_path", str(folder / "sets.jsonl"), "--output", str(folder / "written"), "--beams", "2"]
    return subprocess.run(
        [*command, *more], env=environment(), capture_output=True, text=True, timeout=300, check=False, cwd=ROOT
    )


def test_trainings_of_one_size_are_averaged_and_nothing_runs_twice(folder: Path) -> None:
    grid = ("--grid", "float32", "none:8", "--masks", "hard", "soft", "--plot", str(folder / "sizes.svg"))
    first = study(folder, *grid)
    assert first.returncode == 0, first.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in first.stdout.splitlines() if "|" in line]
    head, body = rows[0], rows[2:]
    assert len(body) == 8  # two sizes, two ways, two masks
    of = {(row[0], row[2], row[4]): dict(zip(head, row, strict=True)) for row in body}
    assert of["3", "float32", "hard"]["HMMs"] == "2" and " ± " in of["3", "float32", "hard"]["held-out"]
    assert of["5", "float32", "hard"]["HMMs"] == "1" and " ± " not in of["5", "float32", "hard"]["held-out"]
    assert of["3", "none", "soft"]["held-out"] == "-"
    assert (folder / "sizes.svg").read_text().startswith("<?xml")
    written = {path: path.read_bytes() for path in (folder / "written").glob("[!.]*")}
    again = study(folder, *grid)
    assert again.stdout.splitlines()[-10:] == first.stdout.splitlines()[-10:]
    assert {path: path.read_bytes() for path in (folder / "written").glob("[!.]*")} == written


def test_two_hmms_of_one_name_are_refused(folder: Path) -> None:
    twice = [str(folder / "hmms" / "seed-0")] * 2
    refused = study(folder, "--hmms", *twice, "--grid", "float32")
    assert refused.returncode == 2 and "folder of the same name" in refused.stderr
