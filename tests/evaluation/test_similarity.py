"""BLEU and CIDEr: hand-computed values, what may not change them, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation import similarity as module
from ctrlg.evaluation.similarity import interval, similarity, tokenised

SENTENCES = ["A dog runs on the beach.", "Two men cook in a kitchen.", "Snow falls on a café."]
REFERENCES = [
    ["A dog runs along the beach.", "The dog is running on a beach."],
    ["A man cooks in the kitchen.", "Two men cook dinner in a kitchen."],
    ["Snow is falling on a small café."],
]


def test_bleu_by_hand() -> None:
    """Clipped n-gram matches over n-grams, and the brevity penalty, of one sentence and one reference."""
    bleu = similarity(["the cat sat on the mat"], [["the cat is on the mat"]]).bleu
    precisions = (5 / 6, 3 / 5, 1 / 4)
    for order in range(3):
        expected = math.prod(precisions[: order + 1]) ** (1 / (order + 1))
        assert bleu[order] == pytest.approx(expected, abs=1e-6)
    assert bleu[3] < 1e-3  # no match of four


def test_references_themselves_score_highest() -> None:
    best = similarity([group[0] for group in REFERENCES], REFERENCES)
    ours = similarity(SENTENCES, REFERENCES)
    assert best.bleu[-1] == pytest.approx(1, abs=1e-6) and best.bleu[-1] > ours.bleu[-1] > 0
    assert (best.cider > ours.cider).all() and (ours.cider > 0).all()
    others = SENTENCES[1:] + SENTENCES[:1]
    assert similarity(others, REFERENCES).cider.max() < ours.cider.min()


def test_only_content_counts_not_order_or_white_space() -> None:
    ours = similarity(SENTENCES, REFERENCES)
    turned = similarity(SENTENCES[::-1], REFERENCES[::-1])
    assert turned.bleu == pytest.approx(ours.bleu)
    np.testing.assert_allclose(turned.cider[::-1], ours.cider)
    spaced = similarity([text.replace(" ", "  ") + "\n" for text in SENTENCES], REFERENCES)
    np.testing.assert_allclose(spaced.cider, ours.cider)


def test_empty_sentences_score_nothing() -> None:
    scores = similarity(["", *SENTENCES[1:]], REFERENCES)
    assert scores.cider[0] == 0 and np.isfinite(scores.cider).all() and np.isfinite(scores.bleu).all()


def test_intervals_hold_the_value_and_shrink_with_data() -> None:
    bounds = interval(SENTENCES * 2, REFERENCES * 2)
    scores = similarity(SENTENCES * 2, REFERENCES * 2)
    low, high = bounds["cider"]
    assert low <= scores.cider.mean() <= high
    assert bounds["bleu_4"][0] <= scores.bleu[-1] <= bounds["bleu_4"][1]
    wide = interval(SENTENCES * 20, REFERENCES * 20)["bleu_4"]
    assert wide[1] - wide[0] < bounds["bleu_4"][1] - bounds["bleu_4"][0]


def test_tokens_are_words_and_punctuation() -> None:
    assert tokenised("It's a café, isn't it?\n") == "It 's a café , is n't it ?"


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(DataError, match="2 sentences for 1"):
        similarity(["a", "b"], [["a"]])
    with pytest.raises(DataError, match="0 sentences"):
        similarity([], [])
    with pytest.raises(DataError, match="sentence 1 has no reference"):
        similarity(["a", "b"], [["a"], []])


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="pycocoevalcap and spacy not installed") as caught:
        similarity(["a"], [["a"]])
    assert "ctrlg[eval]" in str(caught.value)
