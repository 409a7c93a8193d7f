"""Bleu, Cider and Spice under Norm-Q's names: the numbers that its own code gives, and what they refuse."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fake_java import put_java
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation.metrics import spice as spice_module
from ctrlg.evaluation.metrics.bleu import bleu_of, bleu_statistics
from ctrlg.evaluation.metrics.similarity import cider
from ctrlg.evaluation.metrics.spice import MODELS
from eval_metrics.bleu import Bleu
from eval_metrics.cider import Cider
from eval_metrics.spice import Spice

GTS = {
    "dog#run": ["the dog runs in the park .", "a dog is running ."],
    "snow": ["snow is falling on a cafe ."],
}
RES = {"dog#run": ["a dog runs in a park ."], "snow": ["snow falls on the cafe ."]}


def test_bleu_is_norm_qs() -> None:
    """Values that Norm-Q's eval_metrics/bleu.py gives for the same texts."""
    corpus, each = Bleu(4).compute_score(GTS, RES)
    np.testing.assert_allclose(corpus, [0.7122777526922, 0.5475322639166, 0.3136099870720, 4.49434168e-05], rtol=1e-8)
    np.testing.assert_allclose(each[1], [0.7559289457935, 0.3090914233841], rtol=1e-8)
    assert [len(values) for values in each] == [2] * 4
    assert Bleu(2).compute_score(GTS, RES)[0] == pytest.approx(corpus[:2])
    assert Bleu().method() == "Bleu"


def test_cider_is_norm_qs() -> None:
    """Values that Norm-Q's eval_metrics/cider.py gives for the same texts."""
    mean, each = Cider().compute_score(GTS, RES)
    np.testing.assert_allclose(each, [2.41830891, 2.10405952], rtol=1e-7)
    assert mean == pytest.approx(2.261184213353493)
    assert Cider().method() == "CIDEr"
    # Both sentences differ in length from a reference: a wider penalty costs less.
    assert Cider(sigma=60.0).compute_score(GTS, RES)[0] > mean


texts = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8).map(" ".join)
corpora = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=5)


@settings(deadline=None, max_examples=30)
@given(corpus=corpora)
def test_they_agree_with_the_library(corpus: list[tuple[str, list[str]]]) -> None:
    """`ctrlg.evaluation` computes the same scores in another way; the order of the keys does not matter."""
    sentences, references = [text for text, _ in corpus], [group for _, group in corpus]
    gts = dict(enumerate(references))
    res = {index: [sentences[index]] for index in reversed(range(len(corpus)))}
    expected = bleu_of(bleu_statistics(sentences, references).sum(0))
    np.testing.assert_allclose(Bleu(4).compute_score(gts, res)[0], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(Cider().compute_score(gts, res)[1], cider(sentences, references))


@pytest.mark.parametrize(
    ("gts", "res", "message"),
    [
        ({}, {}, "gts is {}"),
        ([["a"]], {0: ["a"]}, "gts is"),
        ({0: ["a"]}, {1: ["a"]}, "0 is a key of only one"),
        ({0: ["a"]}, {0: ["a"], 1: ["b"]}, "1 is a key of only one"),
        ({0: []}, {0: ["a"]}, r"gts\[0\] is \[\]"),
        ({0: "a"}, {0: ["a"]}, r"gts\[0\] is 'a'"),
        ({0: ["a"]}, {0: ["a", "b"]}, r"res\[0\] has 2 sentences"),
        ({0: ["a"]}, {0: [3]}, r"res\[0\] is \[3\]"),
    ],
)
def test_a_bad_corpus_is_refused(gts: Any, res: Any, message: str) -> None:
    for scorer in (Bleu(), Cider()):
        with pytest.raises(DataError, match=message):
            scorer.compute_score(gts, res)


def test_bad_settings_are_refused() -> None:
    for n in (0, 5, True, "4"):
        with pytest.raises(ArgumentError, match="n is"):
            Bleu(n)  # type: ignore[arg-type]
    for settings_ in ({"n": 3}, {"sigma": 0.0}):
        with pytest.raises(ArgumentError, match="sigma"):
            Cider(**settings_)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="no reference has a token"):
        Cider().compute_score({0: [" "]}, {0: ["a"]})


def test_spice_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spice_module, "_folder", lambda: tmp_path)
    with pytest.raises(ArgumentError, match=r"spice-1\.0\.jar"):
        Spice()


def test_spice_gives_all_categories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    for path in (tmp_path / "spice-1.0.jar", *(tmp_path / "lib" / name for name in MODELS)):
        path.touch()
    monkeypatch.setattr(spice_module, "_folder", lambda: tmp_path)
    answer = [
        {"image_id": index, "scores": {"All": {"pr": 1.0, "f": f}, "Color": {"f": None}}}
        for index, f in ((1, 0.25), (0, 0.75))
    ]
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    script = f'cp "$5" {tmp_path}/asked.json; cp {tmp_path}/answer.json "$7"; test "$9" = -subset'
    put_java(tmp_path, monkeypatch, "1.8.0_402", script)
    mean, each = Spice().compute_score({2: ["c"], 1: ["d"]}, {2: ["a"], 1: ["b"]})
    assert mean == 0.5
    assert [item["All"]["f"] for item in each] == [0.75, 0.25] and math.isnan(each[0]["Color"]["f"])
    asked = json.loads((tmp_path / "asked.json").read_text())
    assert [item["test"] for item in asked] == ["b", "a"]  # keys in sorted order
    assert Spice().method() == "SPICE"
