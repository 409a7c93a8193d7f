"""The studies that distil HMMs, from a tiny language model to their tables and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.adaptation.sentences import end_of_text_id
from ctrlg.distillation.sampling.samples import SamplingSettings, sample
from ctrlg.distillation.sampling.storage import write_samples
from ctrlg.loading import load_hmm
from studies.data import efficiency
from studies.data.efficiency import COUNTS, SOURCES, Efficiency
from studies.data.scaling import Scaling


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, files of its samples, and sentences of a domain."""
    folder = tmp_path_factory.mktemp("data")
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    model = tiny_language_model(len(tokenizer), eos_token_id=eos)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    end = end_of_text_id(tokenizer)
    for seed, name in enumerate(("train.0", "train.1", "dev", "test")):
        generator = torch.Generator().manual_seed(seed)
        write_samples(folder / name, sample(model, [end], 40, SamplingSettings(6), end, generator, embeddings=True))
    rows = [{"references": ["The dog runs in the park.", "Dogs run."]} for _ in range(20)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def flags(folder: Path) -> list[str]:
    names = {"model_name_or_path": "model", "dev": "dev", "test": "test"}
    return [f"--{name}={folder / file}" for name, file in names.items()] + ["--draws", "2"]


def test_scaling(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--training", *(str(folder / f"train.{part}") for part in (0, 1)), "--files", "1", "2", "--states", "3"]
    given += ["--soft_steps", "2", "--one_hot_steps", "2", "--models", str(tmp_path / "models")]
    given += ["--output", str(tmp_path / "scaling.jsonl"), "--plot", str(tmp_path / "scaling.svg")]
    Scaling.run([*flags(folder), *given])
    table = capsys.readouterr().out
    assert table.startswith("| tokens | 3 states |") and table.count("\n") == 4
    assert load_hmm(tmp_path / "models" / "2-files-3-states-seed-0").hidden_states == 3
    Scaling.run([*flags(folder), *given])
    assert capsys.readouterr().out == table
    assert len((tmp_path / "scaling.jsonl").read_text().splitlines()) == 2


def test_efficiency(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficiency, "PROBE", 20)
    monkeypatch.setattr(
        Efficiency,
        "_sizes",
        lambda self, source, draws: dict.fromkeys({"both": ("sampled", "read")}.get(source, (source,)), 20),
    )
    given = [
        "--data_file",
        str(folder / "train.jsonl"),
        "--hidden_states",
        "3",
        "--max_new_tokens",
        "6",
        "--seeds",
        "0",
    ]
    given += ["--output", str(tmp_path / "efficiency.jsonl"), "--plot", str(tmp_path / "efficiency.svg")]
    Efficiency.run([*flags(folder), *given])
    lines = [json.loads(line) for line in (tmp_path / "efficiency.jsonl").read_text().splitlines()]
    assert [(line["source"], line["counts"]) for line in lines] == [(one, two) for one in SOURCES for two in COUNTS]
    table = capsys.readouterr().out
    Efficiency.run([*flags(folder), *given])
    assert capsys.readouterr().out == table and table.count("\n") == 2 + 9
