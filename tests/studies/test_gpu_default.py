"""All of `studies/embedded/gpu_default.sh` on a tiny random language model: what comes home, and going on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.tiny_models import END_OF_TEXT, tiny_language_model, tiny_tokenizer

from ctrlg.loading import load_hmm

SCRIPT = Path(__file__).parents[2] / "studies" / "embedded" / "gpu_default.sh"
HOME = ["adapter.safetensors", "adapter_config.json", "hmm.safetensors", "hmm_config.json", "log.json"]
SETTINGS = 9
SIZES = {
    "rank": 2,
    "epochs": 1,
    "held_out": 8,
    "states": 8,
    "sequences": 300,
    "max_bytes": 60_000,
    "together": 1,
    "beams": 2,
}


def run(folder: Path, *changes: str) -> subprocess.CompletedProcess[str]:
    named = {"model": folder / "model", "train": folder / "train.jsonl", "validation": folder / "validation.jsonl"}
    places = {**named, "output": folder / "home", "work": folder / "work"}
    flags = [f"--{name}={value}" for name, value in (places | SIZES).items()]
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = [str(SCRIPT), "--toy", *flags, *changes]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, sentences to adapt it to, and two concept sets."""
    folder = tmp_path_factory.mktemp("default")
    tokenizer = tiny_tokenizer()
    end: Any = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    tiny_language_model(len(tokenizer), eos_token_id=end).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    rows = [{"concept_set_idx": n, "concepts": ["dog"], "references": [f"The dog runs {n}."]} for n in range(40)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "validation.jsonl").write_text("\n".join(map(json.dumps, rows[:2])))
    return folder


def test_all_that_is_made_comes_home_and_nothing_is_made_twice(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 0, done.stderr
    home = folder / "home"
    assert sorted(file.name for file in home.iterdir()) == [*HOME, "sentences.jsonl"]
    log = json.loads((home / "log.json").read_text())
    assert set(log["seconds"]) == {"adapting", "distilling", "writing sentences"}
    assert log["adaptation"]["best_loss"] < log["adaptation"]["loss_before"]
    assert log["distillation"]["unigram"] < log["distillation"]["trained"]
    assert (home / "hmm.safetensors").stat().st_size <= SIZES["max_bytes"]
    lines = [json.loads(line) for line in (home / "sentences.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * SETTINGS
    assert [line["concept_set_idx"] for line in lines] == SETTINGS * [0] + SETTINGS * [1]
    assert f"2 concept sets with all {SETTINGS} settings" in done.stdout

    (folder / "hmm").mkdir()
    for name, known in (("hmm.safetensors", "model.safetensors"), ("hmm_config.json", "config.json")):
        (folder / "hmm" / known).write_bytes((home / name).read_bytes())
    assert load_hmm(folder / "hmm").hidden_states == SIZES["states"]

    before = {name: (home / name).read_bytes() for name in (*HOME[:-1], "sentences.jsonl")}
    again = run(folder)
    assert again.returncode == 0, again.stderr
    assert "adapting begins" not in again.stdout
    assert {name: (home / name).read_bytes() for name in before} == before


def test_what_cannot_be_done_is_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    missing = run(folder, f"--train={tmp_path / 'nowhere.jsonl'}", f"--work={tmp_path / 'work'}")
    assert missing.returncode == 2
    assert "error: --train" in missing.stderr
    assert not (tmp_path / "work").exists()
