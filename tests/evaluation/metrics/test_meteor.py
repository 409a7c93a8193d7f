"""METEOR against pycocoevalcap run directly, the jar's own values, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.fake_java import put_java

from ctrlg.errors import ArgumentError, ProcessError
from ctrlg.evaluation.metrics import scores
from ctrlg.evaluation.metrics.meteor import STATISTICS, meteor_of, meteor_statistics
from ctrlg.evaluation.metrics.tokens import tokenised
from ctrlg.evaluation.results import Written

PAIRS = [
    ("A dog runs on the beach.", ["A dog runs along the beach.", "The dog is running on a beach."]),
    ("A dog runs on the beach.", ["A dog runs along the beach.", "The dog is running on a beach."]),  # twice
    ("Two men are cooking.", ["A man cooks in the kitchen.", "Two men cook dinner in a kitchen."]),
    ("Snow falls on a café.", ["Snow is falling on a small café."]),
    ("Snow is falling on a small café.", ["Snow is falling on a small café."]),
    ("The kid jumped happily over a big stone.", ["A child leaps over a large rock.", "Someone jumps."]),
    ("", ["Nothing was written here."]),
    ("zzz", ["Not one word is shared."]),
    ("中文 句子", ["一 个 中文 句子"]),
]


# Line breaks, the separator, empty references; a letter with an accent is another letter in any locale.
ODD = [
    ("a dog\nran", ["a dog ran"]),
    ("a ||| dog ran", ["a dog ran"]),
    ("", [""]),
    ("x", ["", "x"]),
    ("cafè", ["café"]),
]


@pytest.fixture(scope="module")
def all_statistics() -> np.ndarray:
    """Of all sentences at once: it is Java's start that takes time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C")
        sentences = [tokenised(text) for text, _ in PAIRS] + [text for text, _ in ODD]
        references = [list(map(tokenised, group)) for _, group in PAIRS] + [group for _, group in ODD]
        try:
            return meteor_statistics(sentences, references)
        except ArgumentError as error:
            pytest.skip(error.message)


@pytest.fixture
def statistics(all_statistics: np.ndarray) -> np.ndarray:
    return all_statistics[: len(PAIRS)]


def test_scores_are_those_of_pycocoevalcap(statistics: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    from pycocoevalcap.meteor.meteor import Meteor

    monkeypatch.setenv("LC_ALL", "C.UTF-8")  # it leaves the encoding to the locale
    references = {index: list(map(tokenised, group)) for index, (_, group) in enumerate(PAIRS)}
    sentences = {index: [tokenised(text)] for index, (text, _) in enumerate(PAIRS)}
    corpus, each = Meteor().compute_score(references, sentences)
    np.testing.assert_allclose(meteor_of(statistics), each, rtol=1e-12)
    assert meteor_of(statistics.sum(0)) == pytest.approx(corpus, rel=1e-12)


def test_what_the_values_must_be(statistics: np.ndarray) -> None:
    found = meteor_of(statistics)
    assert found[0] == found[1] and found[4] == 1
    assert found[6] == found[7] == 0 < found[5] < 1  # in the latter, stems and synonyms
    assert ((found >= 0) & (found <= 1)).all()


def test_what_could_break_the_protocol(all_statistics: np.ndarray) -> None:
    np.testing.assert_array_equal(meteor_of(all_statistics[len(PAIRS) :]), [1, 1, 0, 1, 0])


def test_evaluation_has_meteor_with_an_interval(statistics: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "meteor_statistics", lambda *_: statistics)
    written = [Written(index, ("dog",), (text,)) for index, (text, _) in enumerate(PAIRS)]
    references = {index: group for index, (_, group) in enumerate(PAIRS)}
    found = scores.evaluate(written, references, with_meteor=True)["meteor"]
    assert found.value == pytest.approx(meteor_of(statistics.sum(0)))
    assert found.low < found.value < found.high


@pytest.mark.parametrize(
    ("counts", "score"),
    [
        ("8 8 4 4  3 3 4 4  0 0 0 0  0 0 0 0  0 0 0 0  1 7 7", None),
        ("7 6 3 2  1 1 2 2  2 2 0 0  0 0 0 0  0 0 0 0  1 5 5", 0.34347257494156114),
        ("9 8 5 5  3 3 4 4  0 0 0 0  0 0 0 0  0 0 0 0  1 7 7", 0.5338847664689444),
    ],
)
def test_scores_of_counts(counts: str, score: float | None) -> None:
    """The last two as the jar gives them; the first by hand, with one of four content words not matched."""
    share = (0.75 * 3 + 0.25 * 4) / (0.75 * 4 + 0.25 * 4)  # precision and recall
    by_hand = share * (1 - 0.6 * (1 / 7) ** 0.2)
    assert meteor_of(np.array(counts.split(), dtype=float)) == pytest.approx(by_hand if score is None else score)


def test_nothing_scores_nothing() -> None:
    np.testing.assert_array_equal(meteor_of(np.zeros((2, STATISTICS))), [0, 0])


@pytest.mark.parametrize(
    ("script", "message"), [("echo nonsense", "no counts"), ("exit 0", "0 of 1 sentences"), ("exit 7", "code 7")]
)
def test_a_jar_that_answers_wrongly_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    put_java(tmp_path, monkeypatch, "17", script)
    with pytest.raises(ProcessError, match=message):
        meteor_statistics(["a"], [["a"]])
