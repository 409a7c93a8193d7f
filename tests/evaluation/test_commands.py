"""`ctrlg evaluate`: scores that need Java are left out with a word, or refused where they were asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.command import run_command, shown_by
from helpers.fake_java import put_java

from ctrlg.cli import evaluation
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.benchmark_settings import BenchmarkSettings

RECORD = {"concept_set_idx": 5, "concepts": ["dog", "run"], "sentence": "A dog runs."}


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    (tmp_path / "sets.jsonl").write_text(json.dumps(RECORD | {"references": ["The dog runs."]}))
    (tmp_path / "written.jsonl").write_text(json.dumps(RECORD))
    return ["evaluate", str(tmp_path / "written.jsonl"), "--references", str(tmp_path / "sets.jsonl"), "--json"]


def test_without_java_meteor_is_left_out(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    shown = run_command(*arguments)
    assert "meteor" not in json.loads(shown.stdout)[arguments[1]] and "bleu_4" in json.loads(shown.stdout)[arguments[1]]
    assert "METEOR is left out: there is no java" in shown.stderr
    with pytest.raises(ArgumentError, match="no java"):
        shown_by(*arguments, "--meteor")
    assert not run_command(*arguments, "--no-meteor").stderr


def test_with_java_meteor_is_there(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = "4 4 2 2  2 2 2 2  0 0 0 0  0 0 0 0  0 0 0 0  1 4 4"
    put_java(tmp_path, monkeypatch, "17", f"echo {counts}")
    shown = run_command(*arguments)
    assert json.loads(shown.stdout)[arguments[1]]["meteor"]["value"] == 1


def test_the_first_sentence_is_judged_unless_all_are_asked_for(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    record = {"concept_set_idx": 5, "concepts": ["dog", "run"], "sentences": ["A dog runs.", "A cat."]}
    (tmp_path / "written.jsonl").write_text(json.dumps(record))
    success = []
    for more in ([], ["--all"]):
        shown = shown_by(*arguments, "--no-meteor", *more)
        success.append(json.loads(shown)[arguments[1]]["success"]["value"])
    assert success == [1, 0.5]


@pytest.mark.parametrize(("word", "limit"), [("16", 16), ("none", None), ("None", None)])
def test_limits_on_words_are_numbers_or_none(word: str, limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[BenchmarkSettings] = []
    monkeypatch.setattr(evaluation, "write_benchmark", lambda settings, grid: found.append(settings))
    shown_by("benchmark", "sets.jsonl", "out.jsonl", "--grid", "float32", "--most-words", word)
    assert found[0].most_words == limit
    with pytest.raises(ArgumentError, match="many"):
        shown_by("benchmark", "sets.jsonl", "out.jsonl", "--grid", "float32", "--most-words", "many")


def test_spice_that_cannot_run_is_refused(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_java(tmp_path, monkeypatch, "17")
    with pytest.raises(ArgumentError, match="SPICE"):
        shown_by(*arguments, "--spice")
