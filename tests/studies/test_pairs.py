"""Pairs of a language model and an HMM: what they write, what they weigh, and who judges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.hmm import HMM
from ctrlg.loading.language_models import weight_files
from studies.pairs.comparison import Pair
from studies.pairs.study import Pairs
from studies.shared.judging import log_probabilities


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two language models, an HMM over their vocabulary, and two concept sets."""
    folder = tmp_path_factory.mktemp("pairs")
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    for seed in (0, 1):
        tiny_language_model(len(tokenizer), seed, eos).save_pretrained(folder / f"model{seed}")
        tokenizer.save_pretrained(folder / f"model{seed}")
    torch.manual_seed(1)
    HMM(4, len(tokenizer), eos).save_pretrained(folder / "hmm")
    references = ["The dog runs in the park.", "Dogs run."]
    lines = [
        json.dumps({"concept_set_idx": number, "concepts": concepts, "references": references})
        for number, concepts in enumerate([("dog", "park"), ("run",)])
    ]
    (folder / "sets.jsonl").write_text("\n".join(lines))
    return folder


def compare(folder: Path, output: Path, *more: str) -> list[dict[str, Any]]:
    models, hmm = (str(folder / f"model{seed}") for seed in (0, 1)), str(folder / "hmm")
    given = ["--data", str(folder / "sets.jsonl"), "--output", str(output), "--beams", "2", "--max_new_tokens", "44"]
    for name, model in zip(("first", "second"), models, strict=True):
        given += ["--pair", name, model, hmm]
    Pairs.run([*given, "--judge", str(folder / "model0"), *more])
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_pairs_are_judged_by_one_model_weighed_and_drawn(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("spacy")
    more = ("--table", str(tmp_path / "pairs.md"), "--plot", str(tmp_path / "pairs.svg"))
    monkeypatch.setattr("studies.shared.study.fast_dtype", lambda device: torch.float32)
    lines = compare(folder, tmp_path / "pairs.jsonl", *more)
    assert [line["pair"] for line in lines] == ["first", "first", "second", "second"]
    head, _, first, second = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in (tmp_path / "pairs.md").read_text().splitlines()
    ]
    bytes_ = [(folder / part / "model.safetensors").stat().st_size for part in ("model1", "hmm")]
    assert second[1:4] == [f"{size:,}" for size in (*bytes_, sum(bytes_))]
    assert first[4] == second[4] == "2/2"
    model, tokenizer = tiny_language_model(len(tiny_tokenizer())), tiny_tokenizer()
    judged = [log_probabilities(model, tokenizer, [line["sentences"][0]])[0] for line in lines]
    column = next(place for place, name in enumerate(head) if name.startswith("log-probability"))
    assert float(first[column].split()[0]) == pytest.approx(sum(judged[:2]) / 2, abs=6e-4)
    gained = (sum(judged[2:]) - sum(judged[:2])) / 2
    assert first[-1] == ""
    assert float(second[-1].split()[0]) == pytest.approx(gained, abs=6e-4)
    assert (tmp_path / "pairs.svg").stat().st_size > 0
    assert compare(folder, tmp_path / "pairs.jsonl") == lines
    assert "bytes" not in capsys.readouterr().out.splitlines()[-4]


def test_two_pairs_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("spacy")
    more = ("--pair", "first", str(folder / "model1"), str(folder / "hmm"))
    with pytest.raises(ArgumentError, match="one name"):
        compare(folder, tmp_path / "pairs.jsonl", *more)


def test_log_probabilities_are_those_of_the_logits() -> None:
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    model, text = tiny_language_model(len(tokenizer), eos_token_id=eos), "the dog runs"
    row = torch.tensor([[eos, *tokenizer.encode(text), eos]])
    with torch.no_grad():
        scores = model(row).logits.log_softmax(-1)[0, :-1]
    expected = scores.gather(1, row[0, 1:, None]).mean()
    assert log_probabilities(model, tokenizer, [text])[0] == pytest.approx(float(expected), abs=1e-5)


def test_what_has_no_weights_here_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights on this machine"):
        Pair("a", "someone/somewhere", str(folder / "hmm")).sizes()
    (tmp_path / "model.gguf").write_bytes(bytes(7))
    assert weight_files(tmp_path / "model.gguf") == [tmp_path / "model.gguf"]
    assert weight_files(tmp_path / "other.gguf") == []
