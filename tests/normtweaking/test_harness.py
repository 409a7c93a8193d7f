"""The harness's figures are those of the model's own logits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.decoders import EOS, TOKENIZER, small_llama

from ctrlg.errors import ArgumentError, DataError
from normtweaking import harness
from normtweaking.harness import evaluate_tasks

TEXT = "the dog runs in the park, and a grey cat, a naïve one, sits.\n"
WIKITEXT = " = Dogs = \n the dog runs \n = = Parks = = \n in the park \n = Cats = \n a cat sits \n"


@pytest.fixture
def installed() -> None:
    pytest.importorskip(
        "lm_eval.evaluator", reason="lm_eval is not installed, or without what it needs", exc_type=ImportError
    )


@torch.no_grad()
def direct_nats(text: str, window: int = 64) -> float:
    """Of all tokens, each window of them read from the token before it; the last window reaches back to be full."""
    tokens = TOKENIZER.encode(text)
    read = [EOS, *tokens]
    total = 0.0
    for first in range(0, len(tokens), window):
        stop = min(first + window, len(tokens))
        start = max(0, stop - window)
        scores = small_llama()(torch.tensor([read[start:stop]])).logits[0, first - start :].log_softmax(-1)
        total -= float(scores.gather(1, torch.tensor(tokens[first:stop])[:, None]).sum())
    return total


def own_task(folder: Path) -> None:
    """Questions with two answers, told apart by their likelihoods; data and caches stay in the folder."""
    (folder / "tasks").mkdir()
    lines = [{"question": "the dog", "answers": [" runs", " sits"], "right": number % 2} for number in range(5)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "tasks" / "own.yaml").write_text(
        f"""task: own
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}, cache_dir: {folder}/cache}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: answers
doc_to_target: right
target_delimiter: ""
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
    )


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("window", [None, 7, 64])
def test_perplexities_of_a_text_are_those_of_the_logits(tmp_path: Path, window: int | None) -> None:
    (tmp_path / "some.txt").write_text(TEXT, encoding="utf-8")
    found = evaluate_tasks(small_llama(), TOKENIZER, text=tmp_path / "some.txt", window=window)["some.txt"]
    assert len(TOKENIZER.encode(TEXT)) < 64
    assert set(found) == {"word_perplexity", "byte_perplexity", "bits_per_byte"}
    nats = direct_nats(TEXT, window or 64) / len(TEXT.encode())
    assert found["byte_perplexity"].value == pytest.approx(math.exp(nats), rel=1e-5)
    assert found["bits_per_byte"].value == pytest.approx(nats / math.log(2), rel=1e-5)
    assert found["byte_perplexity"].stderr is None
    assert TOKENIZER.pad_token is None


@pytest.mark.usefixtures("installed")
def test_articles_of_wikitext_are_read_apart(tmp_path: Path) -> None:
    (tmp_path / "wiki.txt").write_text(WIKITEXT)
    articles = [WIKITEXT[: WIKITEXT.index(" = Cats")], WIKITEXT[WIKITEXT.index(" = Cats") :]]
    for limit in (1, None):
        read = articles[:limit]
        found = evaluate_tasks(small_llama(), TOKENIZER, text=tmp_path / "wiki.txt", limit=limit)["wiki.txt"]
        nats = sum(direct_nats(article) for article in read) / sum(map(len, read))
        assert found["byte_perplexity"].value == pytest.approx(math.exp(nats), rel=1e-5)


@pytest.mark.usefixtures("installed")
def test_tasks_of_ones_own(tmp_path: Path) -> None:
    own_task(tmp_path)
    folder = tmp_path / "tasks"
    found = evaluate_tasks(small_llama(), TOKENIZER, ["own"], include_path=folder, batch_size=2)
    (accuracy,) = found["own"].values()
    assert min(abs(accuracy.value - share) for share in (0.4, 0.6)) < 1e-9  # it says the same to all five
    assert accuracy.stderr == pytest.approx(math.sqrt(0.24 / 4), rel=1e-6)
    found = evaluate_tasks(small_llama(), TOKENIZER, ["own"], include_path=folder, limit=1)
    assert found["own"]["acc"] == (float(accuracy.value > 0.5), None)


@pytest.mark.usefixtures("installed")
def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"'hellaswagg' is unknown\n.*hellaswag"):
        evaluate_tasks(small_llama(), TOKENIZER, ["arc_easy", "hellaswagg"])
    with pytest.raises(ArgumentError, match="nothing to evaluate"):
        evaluate_tasks(small_llama(), TOKENIZER)
    with pytest.raises(ArgumentError, match="no folder"):
        evaluate_tasks(small_llama(), TOKENIZER, ["own"], include_path=tmp_path / "nowhere")
    wrong: list[dict[str, Any]] = [{"limit": 0}, {"num_fewshot": -1}, {"batch_size": 0}, {"window": 65}]
    for option in wrong:
        ((name, value),) = option.items()
        with pytest.raises(ArgumentError, match=f"{name} is {value}"):
            evaluate_tasks(small_llama(), TOKENIZER, ["arc_easy"], **option)
    (tmp_path / "empty.txt").write_text(" \n")
    for name in ("empty.txt", "nowhere.txt"):
        with pytest.raises(DataError, match=name):
            evaluate_tasks(small_llama(), TOKENIZER, text=tmp_path / name)


def test_without_the_package_there_is_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(harness.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match=r"not installed: lm_eval\n.*ctrlg\[lm-eval\]"):
        evaluate_tasks(small_llama(), TOKENIZER, text=tmp_path / "some.txt")
