"""CIDEr and ROUGE-L of sentences against references, by pycocoevalcap and rouge-score."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ctrlg.constraints.words import LENIENT


class RougeL(NamedTuple):
    """F-measures of the longest common subsequence (Lin 2004), in [0, 1], [n]: their mean over a sentence's references,
    and the largest.

    Attributes:
        mean: over references, [n].
        largest: of the references, [n].
    """

    mean: np.ndarray
    largest: np.ndarray


def cider(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """CIDEr-D of each sentence (Vedantam et al. 2015), in [0, 10], [n]; document frequencies are those of these
    references.

    Args:
        sentences: n texts.
        references: of each sentence.

    Returns:
        [n], in [0, 10].
    """
    from pycocoevalcap.cider.cider import Cider

    corpus = dict(enumerate(map(list, references)))
    _, values = Cider().compute_score(corpus, {index: [text] for index, text in enumerate(sentences)})
    return np.asarray(values, dtype=np.float64)


def rouge_l(sentences: Sequence[str], references: Sequence[Sequence[str]], stemmed: bool = False) -> RougeL:
    """ROUGE-L of each sentence (Lin 2004); case and punctuation do not matter. Tokens as `rouge_tokens`.

    Args:
        sentences: n texts.
        references: of each sentence.
        stemmed: compare words without their endings (Porter), so that "dogs" matches "dog"; tokens are rouge-score's
            own, which leave out all but a-z and 0-9. Norm-Q reports the stemmed mean over references, of texts that
            nobody has tokenized.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True) if stemmed else RougeScorer(["rougeL"], tokenizer=_Tokenizer())
    values = [
        [scorer.score(reference, sentence)["rougeL"].fmeasure for reference in group]
        for sentence, group in zip(sentences, references, strict=True)
    ]
    return RougeL(np.array([np.mean(group) for group in values]), np.array([max(group) for group in values]))


def rouge_tokens(text: str) -> list[str]:
    """Tokens that ROUGE compares, in small letters.

    In Latin script those of rouge-score: runs of a-z and 0-9, parted by everything else. In other scripts, which it
    leaves out: words, or single letters where a script writes no spaces (Han, kana, Thai, ...).

    Args:
        text: any.
    """
    kinds = [(_kind(character), character) for character in text.lower()]
    runs = [
        (kind, "".join(character for _, character in run)) for kind, run in groupby(kinds, key=lambda pair: pair[0])
    ]
    return [token for kind, run in runs if kind for token in (run if kind == "letter" else [run])]


def _kind(character: str) -> str:
    """ "latin", "word" and "letter" for what belongs to a token, "" for what parts tokens."""
    if _ROUGE_CHARACTER.fullmatch(character):
        return "latin"
    category = unicodedata.category(character)
    if ord(character) < _FIRST_OTHER or "LATIN" in unicodedata.name(character, ""):
        return ""
    if category[0] == "L" and not LENIENT.kind_of(character):
        return "letter"
    return "word" if category in ("Lu", "Ll", "Lt", "Lo", "Mn", "Mc", "Nd") else ""


_ROUGE_CHARACTER = re.compile("[a-z0-9]")
_FIRST_OTHER = 0x370  # Greek; below are Latin letters, modifiers of them and combining marks


class _Tokenizer:
    """`rouge_tokens` in the form that rouge-score takes."""

    def tokenize(self, text: str) -> list[str]:
        return rouge_tokens(text)
