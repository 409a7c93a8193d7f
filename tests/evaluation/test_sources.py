"""Concept sets by the name "default": Norm-Q's file, the hub, the package, in this order, and what the user is told."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ctrlg.errors import DataError
from ctrlg.evaluation import sources
from ctrlg.evaluation.concept_sets import read_concept_sets
from ctrlg.evaluation.sources import HUB_NAME, NORM_Q_FILE, Source, find_source, packaged_sets


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_names_stand_for_themselves() -> None:
    assert find_source("sets.jsonl") == Source("sets.jsonl")
    assert find_source("allenai/common_gen") == Source("allenai/common_gen")


def test_norm_qs_file_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_hub_answers", lambda: pytest.fail("nobody asks the hub"))
    NORM_Q_FILE.parent.mkdir()
    rows = [{"concept_set_idx": 4, "concepts": ["dog", "run"], "target": text} for text in ("A dog runs.", "Run, dog!")]
    NORM_Q_FILE.write_text(json.dumps(rows))
    source = find_source("default")
    assert source == Source(str(NORM_Q_FILE), f"concept sets: {NORM_Q_FILE}")
    assert read_concept_sets(source.name) == [(4, ("dog", "run"), ("A dog runs.", "Run, dog!"))]


def test_then_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_hub_answers", lambda: True)
    monkeypatch.setattr(sources, "read_rows", lambda name: [])
    assert find_source("default").name == HUB_NAME
    assert "on the hub" in find_source("default").note


@pytest.mark.parametrize("problem", ["no answer", "no files", "no package"])
def test_then_the_package_and_the_user_is_told_why(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Any:
        raise DataError("no files")

    monkeypatch.setattr(sources, "_hub_answers", lambda: problem != "no answer")
    monkeypatch.setattr(sources, "read_rows", refuse)
    if problem == "no package":
        monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    source = find_source("default")
    assert source.name == str(packaged_sets())
    assert source.note.startswith("concept sets: the 100 of this package (")


def test_a_hub_that_does_not_answer_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Slow:
        def dataset_info(self, name: str, timeout: float) -> None:
            time.sleep(10 * timeout)

    monkeypatch.setattr(huggingface_hub, "HfApi", Slow)
    monkeypatch.setattr(sources, "_ANSWER_SECONDS", 0.01)
    assert not sources._hub_answers()
    monkeypatch.setattr(Slow, "dataset_info", lambda self, name, timeout: None)
    monkeypatch.setattr(sources, "_ANSWER_SECONDS", 60.0)
    assert sources._hub_answers()


def test_the_packaged_sets_are_real_and_whole() -> None:
    sets = read_concept_sets(packaged_sets())
    assert len(sets) == len({each.number for each in sets}) == 100
    assert sets[0].concepts == ("field", "look", "stand") and len(sets[0].references) == 4
    assert all(3 <= len(each.concepts) <= 5 and each.references for each in sets)
    assert "MIT License" in (packaged_sets().parent / "LICENSE").read_text()


def test_they_are_those_that_a_limit_of_100_takes(shared_data: Path) -> None:
    assert read_concept_sets(packaged_sets()) == read_concept_sets(shared_data / "commongen" / "validation.jsonl", 100)
