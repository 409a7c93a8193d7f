"""`ctrlg evaluate`: scores that need Java are left out with a word, or refused where they were asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.fake_java import put_java
from typer.testing import CliRunner

from ctrlg.cli import main as cli
from ctrlg.cli.evaluation import word_limit
from ctrlg.errors import ArgumentError

RECORD = {"concept_set_idx": 5, "concepts": ["dog", "run"], "sentence": "A dog runs."}


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    (tmp_path / "sets.jsonl").write_text(json.dumps(RECORD | {"references": ["The dog runs."]}))
    (tmp_path / "written.jsonl").write_text(json.dumps(RECORD))
    return ["evaluate", str(tmp_path / "written.jsonl"), "--references", str(tmp_path / "sets.jsonl"), "--json"]


def test_without_java_meteor_is_left_out(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    shown = CliRunner().invoke(cli.app, arguments)
    assert "meteor" not in json.loads(shown.stdout)[arguments[1]] and "bleu_4" in json.loads(shown.stdout)[arguments[1]]
    assert "METEOR is left out: there is no java" in shown.stderr
    with pytest.raises(ArgumentError, match="no java"):
        CliRunner().invoke(cli.app, [*arguments, "--meteor"], catch_exceptions=False)
    assert not CliRunner().invoke(cli.app, [*arguments, "--no-meteor"]).stderr


def test_with_java_meteor_is_there(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = "4 4 2 2  2 2 2 2  0 0 0 0  0 0 0 0  0 0 0 0  1 4 4"
    put_java(tmp_path, monkeypatch, "17", f"echo {counts}")
    shown = CliRunner().invoke(cli.app, arguments)
    assert json.loads(shown.stdout)[arguments[1]]["meteor"]["value"] == 1


def test_the_first_sentence_is_judged_unless_all_are_asked_for(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    record = {"concept_set_idx": 5, "concepts": ["dog", "run"], "sentences": ["A dog runs.", "A cat."]}
    (tmp_path / "written.jsonl").write_text(json.dumps(record))
    success = []
    for more in ([], ["--all"]):
        shown = CliRunner().invoke(cli.app, [*arguments, "--no-meteor", *more])
        success.append(json.loads(shown.stdout)[arguments[1]]["success"]["value"])
    assert success == [1, 0.5]


def test_limits_on_words_are_numbers_or_none() -> None:
    assert [word_limit(text) for text in ("16", "none", "None")] == [16, None, None]
    with pytest.raises(ArgumentError, match="'many' is no number of words"):
        word_limit("many")


def test_spice_that_cannot_run_is_refused(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_java(tmp_path, monkeypatch, "17")
    with pytest.raises(ArgumentError, match="SPICE"):
        CliRunner().invoke(cli.app, [*arguments, "--spice"], catch_exceptions=False)
