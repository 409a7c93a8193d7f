"""The studies of public suites and of look-ahead: tasks, masks, judges and tables."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ctrlg.constraints.patterns.languages import texts_of
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.commongen_lite.study import CommonGenLite, ConceptsAs, inflections_as, judged
from studies.language.patterns import as_written
from studies.language.patterns import judged as judged_pattern
from studies.language.texts import near
from studies.language.tokenizers import KINDS
from studies.look_ahead.masks import BitMasked
from studies.look_ahead.study import BUDGETS, WAYS, LookAhead
from studies.look_ahead.tasks import KINDS as TASK_KINDS
from studies.look_ahead.tasks import Task, task


@pytest.mark.parametrize("number", range(6))
def test_what_a_task_accepts_fits_by_another_judge(number: int) -> None:
    given = task(number, seed=1)
    assert given == task(number, seed=1) and given.kind == TASK_KINDS[number % 3]
    constraint = given.constraint()
    texts = near(texts_of(constraint), random.Random(number), 20)
    assert any(map(constraint.holds, texts))
    assert all(given.fits(text) for text in texts if constraint.holds(text))


def test_json_of_another_form_fits_and_other_texts_do_not() -> None:
    given = Task("json", "", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
    assert given.fits('{ "a": 1 }') and not given.fits('{"a":"1"}') and not given.fits('{"a":1')


def test_bits_mask_tokens_and_the_end_stays_the_end() -> None:
    read: list[int] = []

    def advance(token: int) -> bool:
        read.append(token)
        return token == 2

    def fill(bits: Tensor) -> None:
        bits[0, 0], bits[0, 1] = 0b110, 0b1

    mask = BitMasked(1, 39, advance, fill, 40)
    scores = mask(torch.tensor([[5]]), torch.zeros(1, 40))
    assert torch.isfinite(scores).nonzero()[:, 1].tolist() == [1, 2, 32] and read == []
    scores = mask(torch.tensor([[5, 2]]), torch.zeros(1, 40))
    assert torch.isfinite(scores).nonzero()[:, 1].tolist() == [39] and read == [2]
    assert mask.steps == 2


def test_the_table_compares_ways_on_the_same_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"kind": "json", "ended": True, "tokens": 9, "log_prob": -2.0, "compile": 0.5, "token": 0.001}
    lines = [
        {"way": way, "budget": budget, "task": 0, **values, "complete": way != "xgrammar"}
        for way in WAYS
        for budget in BUDGETS
    ]
    lines.append({"way": "hmm", "budget": "tight", "task": 1, **values, "complete": False})
    file = tmp_path / "lines.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    LookAhead.run(["--summarize", str(file)])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tight")]
    assert [row.split(" | ")[1:4] for row in rows] == [
        ["hmm", "1", "100 %"],
        ["mask", "1", "100 %"],
        ["outlines-core", "1", "100 %"],
        ["xgrammar", "1", "0 %"],
    ]


@pytest.mark.parametrize("name", KINDS)
def test_patterns_of_small_tokenizers(name: str) -> None:
    vocabulary = Vocabulary.of(KINDS[name]())
    found = [judged_pattern(vocabulary, f"0 {number}") for number in range(4)]
    assert sum(line.get("contents", 0) for line in found) >= 20
    assert not any(line.get("wrong", 0) for line in found)


def test_lines_of_the_suite_of_patterns() -> None:
    vocabulary = Vocabulary.of(KINDS["unigram"]())
    regular = {"pattern": "a+", "texts": [["aa", True], ["b", False]], "regular": True}
    found = as_written(vocabulary, regular)
    assert (found["texts"], found["matching"], found["wrong"]) == (2, 1, 0)
    assert as_written(vocabulary, regular | {"texts": [["aa", False]]})["wrong"] == 2
    refused = {"pattern": r"(a)\1", "texts": [], "regular": False}
    assert as_written(vocabulary, refused) == {"pattern": r"(a)\1", "refused": 1, "wrong": 0}


def test_inflections_of_the_part_that_a_set_names() -> None:
    pytest.importorskip("lemminflect")
    assert set(inflections_as("throw", "V")) == {"throw", "throws", "threw", "thrown", "throwing"}
    assert set(inflections_as("dog", "N")) == {"dog", "dogs"}
    constraint = ConceptsAs(("throw", "dog"), ("V", "N")).constraint("own")
    assert constraint.holds("They threw it to the dogs.") and not constraint.holds("The thrower has dogs.")


def test_lemmas_and_parts_of_speech_are_counted_as_on_the_leaderboard() -> None:
    def pipeline(text: str) -> list[Any]:
        return [SimpleNamespace(lemma_=lemma, pos_=pos) for lemma, pos in map(lambda w: w.split("/"), text.split())]

    sets = ConceptsAs(("run", "dog", "park"), ("V", "N", "N"))
    assert judged(pipeline, sets, "dog/NOUN run/NOUN") == (["park"], ["run"])
    assert judged(pipeline, sets, "dog/PROPN run/NOUN run/VERB park/NOUN") == ([], [])


def test_the_table_of_commongen_lite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = {"set": "x", "kept": True, "missing": [], "other_part": ["run"], "words": 9, "log_prob": -2.0}
    lines = [{"way": "any", **line}, {"way": "own", **line, "other_part": []}]
    file = tmp_path / "lines.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    CommonGenLite.run(["--summarize", str(file)])
    rows = [line.split(" | ")[3:5] for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [["100.0 %", "0.0 %"], ["100.0 %", "100.0 %"]]
