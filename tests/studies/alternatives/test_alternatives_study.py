"""The study of alternatives on a tiny language model: every way, resumption, a missing package."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.errors import ArgumentError
from ctrlg.evaluation.concept_sets import ConceptSet
from ctrlg.hmm import HMM
from studies.alternatives import outlines_generation
from studies.alternatives.expressions import Counting, constraint_pattern
from studies.alternatives.outlines_generation import OutlinesWriter
from studies.alternatives.prompting import first_sentence, messages, write_asked
from studies.alternatives.study import Alternatives

CHAT = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
WAYS = ("hmm", "mask-only", "prompt", "prompt-examples")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, an HMM over its vocabulary, and three concept sets."""
    folder = tmp_path_factory.mktemp("alternatives")
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    tokenizer.chat_template = CHAT
    tiny_language_model(len(tokenizer), eos_token_id=eos).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(1)
    HMM(4, len(tokenizer), eos).save_pretrained(folder / "hmm")
    references = ["The dog runs in the park.", "Dogs run."]
    lines = [
        json.dumps({"concept_set_idx": number, "concepts": concepts, "references": references})
        for number, concepts in enumerate([("dog", "park"), ("run",), ("park", "run")])
    ]
    (folder / "sets.jsonl").write_text("\n".join(lines))
    return folder


def study(folder: Path, output: Path, *ways: str) -> list[dict[str, Any]]:
    sets, model = str(folder / "sets.jsonl"), str(folder / "model")
    given = ["--dataset_path", sets, "--examples", sets, "--base_model", model, "--instructed_model", model]
    given += ["--hmm_model_path", str(folder / "hmm"), "--output", str(output), "--beams", "2"]
    Alternatives.run([*given, "--max_new_tokens", "44", "--ways", *ways])
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_a_stopped_study_goes_on_and_ends_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("spacy")
    whole = study(folder, tmp_path / "whole.jsonl", *WAYS)
    assert [(line["method"], line["concept_set_idx"]) for line in whole] == [
        (way, number) for way in WAYS for number in range(3)
    ]
    assert all(line["kept"] for line in whole if line["method"] in ("hmm", "mask-only"))
    shown = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0] for row in shown[2:]] == [f"| {way}" for way in WAYS]

    text = (tmp_path / "whole.jsonl").read_text().splitlines()
    (tmp_path / "part.jsonl").write_text("\n".join(text[:5]) + "\n")
    again = study(folder, tmp_path / "part.jsonl", *WAYS)
    names = ("method", "concept_set_idx", "sentences", "kept", "steps")
    assert [[line[name] for name in names] for line in again] == [[line[name] for name in names] for line in whole]
    for line, other in zip(again, whole, strict=True):
        assert line["log_prob"] == pytest.approx(other["log_prob"], abs=1e-4)


def test_without_outlines_the_way_is_refused_before_any_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlines_generation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="pip install outlines"):
        outlines_generation.require_outlines()
    with pytest.raises(ArgumentError, match="not installed: outlines"):
        OutlinesWriter(None, None, 0)


def test_outlines_writes_what_matches() -> None:
    pytest.importorskip("outlines")
    tokenizer = tiny_tokenizer()
    end: Any = tokenizer.eos_token_id
    tokenizer.chat_template = CHAT
    model = tiny_language_model(len(tokenizer), eos_token_id=end)
    writer = OutlinesWriter(model, tokenizer, end, samples=3, max_new_tokens=60)
    pattern = constraint_pattern(("dog",), (1, 2), Counting.EXACT).replace("[A-Za-z]+", "[a-z]{1,3}")
    first, second = (writer.write(pattern, seed=5) for _ in range(2))
    assert re.fullmatch(pattern, first.text)
    assert first.text == second.text
    assert 0 < first.steps <= 60 and first.symbolic_seconds <= first.seconds
    assert tokenizer.chat_template == CHAT


def test_a_chat_asks_for_the_concepts_after_the_examples() -> None:
    example = ConceptSet(3, ("cat", "sit"), ("A cat sits on the mat.", "Cats."))
    chat = messages(("dog", "run"), (6, 16), [example])
    assert [turn["role"] for turn in chat] == ["user", "assistant", "user"]
    assert chat[0]["content"].endswith("uses the words: cat, sit.")
    assert chat[1]["content"] == "A cat sits on the mat."
    assert chat[2]["content"] == "Write one sentence of 6 to 16 words that uses the words: dog, run."


def test_an_answer_ends_in_time() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT
    model = tiny_language_model(len(tokenizer), eos_token_id=None)
    attempt = write_asked(model, tokenizer, messages(("dog",), (6, 16)), beams=2, max_new_tokens=7)
    assert 0 < attempt.steps <= 7


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("A dog runs. It barks.", "A dog runs."),
        ('"A dog runs!" he said', "A dog runs!"),
        ("\n\n A dog runs at 3.5 miles\nAnother.", "A dog runs at 3.5 miles"),
        ('"A dog"', "A dog"),
        ("", ""),
    ],
)
def test_the_first_sentence_of_an_answer(answer: str, sentence: str) -> None:
    assert first_sentence(answer) == sentence
