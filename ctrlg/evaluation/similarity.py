"""CIDEr and ROUGE-L of sentences against references, by pycocoevalcap and rouge-score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class RougeL(NamedTuple):
    """F-measures of the longest common subsequence (Lin 2004), in [0, 1], [n]: their mean over a sentence's references,
    and the largest."""

    mean: np.ndarray
    largest: np.ndarray


def cider(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """CIDEr-D of each sentence (Vedantam et al. 2015), in [0, 10], [n]; document frequencies are those of these
    references."""
    from pycocoevalcap.cider.cider import Cider

    corpus = dict(enumerate(map(list, references)))
    _, values = Cider().compute_score(corpus, {index: [text] for index, text in enumerate(sentences)})
    return np.asarray(values, dtype=np.float64)


def rouge_l(sentences: Sequence[str], references: Sequence[Sequence[str]], stemmed: bool = False) -> RougeL:
    """ROUGE-L of each sentence; case and punctuation do not matter.

    stemmed: compare words without their endings (Porter), so that "dogs" matches "dog". Norm-Q reports the stemmed mean
    over references, of texts that nobody has tokenised.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=stemmed)
    values = [
        [scorer.score(reference, sentence)["rougeL"].fmeasure for reference in group]
        for sentence, group in zip(sentences, references, strict=True)
    ]
    return RougeL(np.array([np.mean(group) for group in values]), np.array([max(group) for group in values]))
