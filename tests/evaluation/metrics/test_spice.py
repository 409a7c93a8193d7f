"""SPICE: refused where it cannot run; what is asked of the jar, and what is made of its answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_java import put_java

from ctrlg.errors import ArgumentError, ProcessError
from ctrlg.evaluation.metrics import spice as module
from ctrlg.evaluation.metrics.scores import evaluate
from ctrlg.evaluation.metrics.spice import MODELS, require_spice, spice
from ctrlg.evaluation.results import Written


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files of the right names."""
    folder = tmp_path / "spice"
    (folder / "lib").mkdir(parents=True)
    for path in (folder / "spice-1.0.jar", *(folder / "lib" / name for name in MODELS)):
        path.touch()
    monkeypatch.setattr(module, "_folder", lambda: folder)
    return folder


def test_a_missing_model_is_named_before_any_work(jars: Path) -> None:
    (jars / "lib" / MODELS[1]).unlink()
    with pytest.raises(ArgumentError, match=r"3\.6\.0-models\.jar") as caught:
        evaluate([Written(0, ("dog",), ("A dog.",))], {0: ["A dog."]}, with_spice=True)
    assert "docs/quality.md" in caught.value.hint


@pytest.mark.usefixtures("jars")
@pytest.mark.parametrize(("version", "runs"), [("1.7.0", False), ("1.8.0_402", True), ("13", True), ("17.0.1", False)])
def test_only_some_versions_of_java_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, runs: bool
) -> None:
    put_java(tmp_path, monkeypatch, version)
    if runs:
        require_spice()
    else:
        with pytest.raises(ArgumentError, match="does not run on Java"):
            require_spice()


@pytest.mark.usefixtures("jars")
def test_what_the_jar_is_asked_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [{"image_id": index, "scores": {"All": {"f": f}}} for index, f in ((2, None), (0, 0.5), (1, 0.25))]
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    # The arguments are -Xmx, encoding, -jar, jar, asked, -out, answered, -silent.
    put_java(tmp_path, monkeypatch, "1.8.0_402", f'cp "$5" {tmp_path}/asked.json; cp {tmp_path}/answer.json "$7"')
    np.testing.assert_array_equal(spice(["a café", "b", ""], [["c", "d"], ["e"], ["f"]]), [0.5, 0.25, 0])
    assert json.loads((tmp_path / "asked.json").read_text())[0] == {"image_id": 0, "test": "a café", "refs": ["c", "d"]}
    scores = evaluate([Written(0, ("dog",), ("A dog.", "Dogs.", "?"))], {0: ["A dog."]}, with_spice=True)
    assert scores["spice"].value == 0.25


@pytest.mark.usefixtures("jars")
@pytest.mark.parametrize(("script", "message"), [("exit 0", "wrote no scores"), ("exit 1", "code 1")])
def test_a_jar_that_fails_is_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    put_java(tmp_path, monkeypatch, "1.8.0_402", script)
    with pytest.raises(ProcessError, match=message):
        spice(["a"], [["a"]])


def test_scores_are_those_of_pycocoevalcap() -> None:
    try:
        require_spice()
    except ArgumentError as error:
        pytest.skip(error.message)
    from pycocoevalcap.spice.spice import Spice

    sentences, references = (
        ["a dog runs on the beach .", "two men cook ."],
        [["the dog is running ."], ["a man cooks ."]],
    )
    _, each = Spice().compute_score(dict(enumerate(references)), {i: [text] for i, text in enumerate(sentences)})
    np.testing.assert_allclose(spice(sentences, references), [found["All"]["f"] for found in each])
