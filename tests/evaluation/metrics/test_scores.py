"""Scores: hand-computed values, pycocoevalcap run directly, what may not change them, and bad input."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation.metrics.bleu import bleu_of, bleu_statistics
from ctrlg.evaluation.metrics.scores import Score, evaluate
from ctrlg.evaluation.metrics.similarity import rouge_l, rouge_tokens
from ctrlg.evaluation.metrics.success import constraints_kept, covered
from ctrlg.evaluation.metrics.tokens import tokenised
from ctrlg.evaluation.results import Written
from ctrlg.files import outputs

CONCEPTS = (("dog", "run", "beach"), ("man", "cook", "kitchen"), ("snow", "fall", "café"))
SENTENCES = ["A dog runs on the beach.", "Two men cook in a kitchen.", "Snow falls on a café."]
REFERENCES = {
    0: ["A dog runs along the beach.", "The dog is running on a beach."],
    1: ["A man cooks in the kitchen.", "Two men cook dinner in a kitchen."],
    2: ["Snow is falling on a small café."],
}


def written(*sentences: str) -> list[Written]:
    return [Written(index, CONCEPTS[index], (text,)) for index, text in enumerate(sentences)]


def bleu(sentences: list[str], references: list[list[str]]) -> np.ndarray:
    return bleu_of(bleu_statistics(sentences, references).sum(0))


def test_bleu_by_hand() -> None:
    """Clipped n-gram matches over n-grams of one sentence and one reference of the same length."""
    found = bleu(["the cat sat on the mat"], [["the cat is on the mat"]])
    precisions = (5 / 6, 3 / 5, 1 / 4)
    for order in range(3):
        assert found[order] == pytest.approx(math.prod(precisions[: order + 1]) ** (1 / (order + 1)), abs=1e-6)
    assert found[3] < 1e-3  # no match of four


def test_short_sentences_are_penalised() -> None:
    found = bleu(["the cat"], [["the cat sat on the mat"]])
    assert found[0] == pytest.approx(math.exp(1 - 6 / 2), abs=1e-6)


def test_bleu_counts_are_those_of_its_paper() -> None:
    """Papineni et al. 2002, section 2: modified precisions 17/18 and 10/17, 8/14 and 1/13, without punctuation."""
    references = [
        "it is a guide to action that ensures that the military will forever heed party commands",
        "it is the guiding principle which guarantees the military forces always being under the command of the party",
        "it is the practical guide for the army always to heed the directions of the party",
    ]
    candidates = [
        "it is a guide to action which ensures that the military always obeys the commands of the party",
        "it is to insure the troops forever hearing the activity guidebook that party direct",
    ]
    counts = bleu_statistics(candidates, [references, references])
    np.testing.assert_array_equal(counts[:, [6, 2, 7, 3]], [[17, 18, 10, 17], [8, 14, 1, 13]])


def test_rouge_l_is_that_of_its_paper() -> None:
    """Lin 2004, section 3: against "police killed the gunman" 3/4 and 2/4, with recall and precision weighted alike."""
    sentences = ["police kill the gunman", "the gunman kill police"]
    assert rouge_l(sentences, [["police killed the gunman"]] * 2).mean == pytest.approx([3 / 4, 2 / 4])


def test_stemmed_rouge_l_is_the_one_that_norm_q_reports() -> None:
    """The mean over references, stemmed, of texts as they are: by hand, and by rouge_score run as Norm-Q runs it."""
    from rouge_score.rouge_scorer import RougeScorer

    # "dogs" and "runs" match "dog" and "running" only as stems: 3 of 4 and 5 words, not 1.
    assert rouge_l(["The dogs runs."], [["The dog is running."]], stemmed=True).mean == pytest.approx([6 / 7])
    assert rouge_l(["The dogs runs."], [["The dog is running."]]).mean == pytest.approx([2 / 7])
    texts = ["Two men weren't cooking in the well-known kitchens!", "A dog runs  on the\nbeaches.", ""]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    expected = []
    for text, group in zip(texts, REFERENCES.values(), strict=True):
        values = [scorer.score(text, reference)["rougeL"].fmeasure for reference in group]
        expected.append(sum(values) / len(values))
    scores = evaluate(written(*texts), REFERENCES)
    assert scores["rouge_l_stemmed"].value == pytest.approx(sum(expected) / len(expected), rel=1e-12)
    assert scores["rouge_l_stemmed"].value > scores["rouge_l"].value


def test_the_average_of_bleu_is_that_of_its_orders() -> None:
    scores = evaluate(written(*SENTENCES), REFERENCES)
    assert scores["bleu_average"].value == pytest.approx(np.mean([scores[f"bleu_{n}"].value for n in range(1, 5)]))
    assert scores["bleu_average"].low <= scores["bleu_average"].value <= scores["bleu_average"].high


words = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), max_size=9).map(" ".join)


@settings(deadline=None, max_examples=50)
@given(corpus=st.lists(st.tuples(words, st.lists(words.filter(bool), min_size=1, max_size=3)), min_size=1, max_size=5))
def test_bleu_and_cider_are_those_of_pycocoevalcap(corpus: list[tuple[str, list[str]]]) -> None:
    sentences, references = [text for text, _ in corpus], [group for _, group in corpus]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its counts
        expected, _ = Bleu(4).compute_score(dict(enumerate(references)), {i: [t] for i, t in enumerate(sentences)})
    np.testing.assert_allclose(bleu(sentences, references), expected, rtol=1e-9, atol=1e-12)


def test_scores_of_a_corpus_are_those_of_its_tokens() -> None:
    scores = evaluate(written(*SENTENCES), REFERENCES)
    sentences = [tokenised(text) for text in SENTENCES]
    references = {index: [tokenised(text) for text in group] for index, group in REFERENCES.items()}
    expected, _ = Cider().compute_score(references, {index: [text] for index, text in enumerate(sentences)})
    assert scores["cider"].value == pytest.approx(expected)
    assert scores["bleu_4"].value == pytest.approx(bleu(sentences, list(references.values()))[3])
    # Longest common subsequence with each reference, without punctuation: 5 of 6 and 6 words, then 3 of 6 and 7.
    first = evaluate(written(SENTENCES[0]), REFERENCES)
    assert first["rouge_l_max"].value == pytest.approx(5 / 6)
    assert first["rouge_l"].value == pytest.approx((5 / 6 + 2 * 3 / (6 + 7)) / 2)
    assert scores["success"].value == scores["coverage"].value == 1


def test_references_themselves_score_highest() -> None:
    best = evaluate(written(*(group[0] for group in REFERENCES.values())), REFERENCES)
    ours = evaluate(written(*SENTENCES), REFERENCES)
    others = evaluate(written(*SENTENCES[1:], SENTENCES[0]), REFERENCES)
    assert best["bleu_4"].value == pytest.approx(1, abs=1e-6)
    assert best["rouge_l_max"].value == pytest.approx(1)
    for name in ("bleu_4", "rouge_l", "cider"):
        assert best[name].value > ours[name].value > others[name].value


def test_order_white_space_and_repetition_do_not_matter() -> None:
    ours = evaluate(written(*SENTENCES), REFERENCES, resamples=1)
    turned = evaluate(written(*SENTENCES)[::-1], REFERENCES, resamples=1)
    spaced = evaluate(written(*(text.replace(" ", "  ") + "\n" for text in SENTENCES)), REFERENCES, resamples=1)
    for name, score in ours.items():
        assert turned[name].value == pytest.approx(score.value) == spaced[name].value


def test_empty_sentences_score_nothing_and_non_ascii_ones_do() -> None:
    scores = evaluate(written("", "", SENTENCES[2]), REFERENCES)
    assert scores["success"].value == pytest.approx(1 / 3)
    assert all(np.isfinite(score).all() for score in scores.values())
    assert evaluate(written("", "", ""), REFERENCES)["cider"].value == 0


def test_intervals_hold_the_value_and_shrink_with_data() -> None:
    few = evaluate(written(*SENTENCES), REFERENCES)
    copies = [
        Written(group.number + 3 * copy, group.concepts, group.sentences)
        for copy in range(30)
        for group in written(*SENTENCES)
    ]
    many = evaluate(copies, {index: REFERENCES[index % 3] for index in range(90)})
    for name, score in many.items():
        assert few[name].low - 1e-9 <= few[name].value <= few[name].high + 1e-9
        if name != "cider":  # its document frequencies change with the corpus
            assert score.value == pytest.approx(few[name].value)
            assert score.high - score.low <= 0.5 * (few[name].high - few[name].low) + 1e-9
    # Sentences of one set are drawn together: writing them twice tells nothing new.
    assert evaluate(written(*SENTENCES) * 2, REFERENCES)["rouge_l"] == pytest.approx(few["rouge_l"])
    assert evaluate(written(*SENTENCES), REFERENCES) == few  # the seed fixes them
    assert str(Score(0.5, 0.25, 0.75)) == "0.500 (0.250 to 0.750)"


def test_concepts_count_as_whole_words_in_any_inflection() -> None:
    assert covered("Two MEN were cooking.", ("man", "cook", "kitchen")) == [True, True, False]
    assert covered("A party of artists.", ("art", "party")) == [False, True]
    assert covered("A party of artists.", ("art", "party"), substring=True) == [True, True]
    assert covered("Dogs.", ("dog", "cat", "cat")) == [True, False, False]


def test_constraints_accuracy_is_norm_qs_check() -> None:
    """Anywhere in the text, in the case of the form, any inflection that is not another concept."""
    assert constraints_kept("A party of artists cooking.", ("art", "party", "cook"))
    assert not constraints_kept("Cooking for two.", ("cook",))
    assert not constraints_kept("They surf.", ("surf", "surfer"))
    assert constraints_kept("The surfer waits.", ("surf", "surfer"))  # "surf" inside of it
    scores = evaluate(written("Dogs run on the beach.", "A man cooks in a kitchen."), REFERENCES)
    assert (scores["success"].value, scores["constraints_accuracy"].value) == (1, 0.5)


def test_tokens_are_words_and_punctuation() -> None:
    assert tokenised("It's a café, isn't it?\n") == "It 's a café , is n't it ?"


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(DataError, match="no sentences"):
        evaluate([Written(0, CONCEPTS[0], ())], REFERENCES)
    with pytest.raises(DataError, match="concept set 7 has no references"):
        evaluate([Written(7, CONCEPTS[0], ("A dog.",))], REFERENCES)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="not installed: pycocoevalcap, rouge_score, spacy") as caught:
        evaluate(written(*SENTENCES), REFERENCES)
    assert "ctrlg[eval]" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "Собака бежит по пляжу.",
        "一只狗在海滩上跑。",
        "いぬがはしる",
        "สุนัขวิ่ง",
        "Σκύλος τρέχει",
        "कुत्ता दौड़ता है",
        "هذا كلب",
    ],
)
def test_rouge_of_equal_sentences_is_one_in_every_script(text: str) -> None:
    assert rouge_l([text], [[text]]).mean == 1
    assert 0 < rouge_l([text], [[f"{text} {text}"]]).mean[0] < 1
    assert rouge_l([text], [["A dog."]]).mean == 0


def test_rouge_tokens_of_other_scripts() -> None:
    assert rouge_tokens("Это 2 dogs, ёж!") == ["это", "2", "dogs", "ёж"]
    assert rouge_tokens("狗跑 dog") == ["狗", "跑", "dog"]


@given(
    st.text(
        st.characters(max_codepoint=0x36F, exclude_categories=["Cs"])
        | st.sampled_from("\u2019\u201c\u2013\u2014\u2026\u20ac\u2122\ufb01\u1e9e\u01c6\uff21\u2028"),
        max_size=30,
    )
)
def test_rouge_tokens_in_latin_script_are_those_of_rouge_score(text: str) -> None:
    tokenize = pytest.importorskip("rouge_score.tokenize").tokenize
    assert rouge_tokens(text) == tokenize(text, None)
