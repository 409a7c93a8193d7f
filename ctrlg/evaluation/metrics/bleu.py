"""BLEU of a corpus (Papineni et al. 2002) from numbers that add up over sentences, so that resampling is cheap.

n-grams are counted by pycocoevalcap; a test holds the result against its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ORDERS = 4
_SMALL, _TINY = 1e-9, 1e-15  # pycocoevalcap's guards against divisions by zero


def bleu_statistics(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """For each tokenised sentence its length, that of the closest reference, its n-grams and those of them that match
    a reference (clipped), n = 1..4: float64 [n, 2 + 2 * ORDERS].

    Args:
        sentences: n tokenized texts.
        references: tokenized, of each sentence.

    Returns:
        float64 [n, 2 + 2 * ORDERS].
    """
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

    rows = []
    for sentence, group in zip(sentences, references, strict=True):
        counts = cook_test(sentence, cook_refs(group, n=ORDERS), eff="closest", n=ORDERS)
        rows.append([counts["testlen"], counts["reflen"], *counts["guess"], *counts["correct"]])
    return np.array(rows, dtype=np.float64)


def bleu_of(statistics: np.ndarray) -> np.ndarray:
    """BLEU-1..4, in [0, 1], of summed statistics [..., 2 + 2 * ORDERS]: [..., ORDERS].

    Args:
        statistics: summed over sentences, [..., 2 + 2 * ORDERS].

    Returns:
        [..., ORDERS], in [0, 1].
    """
    length, closest = statistics[..., 0], statistics[..., 1]
    guessed, correct = statistics[..., 2 : 2 + ORDERS], statistics[..., 2 + ORDERS :]
    logs = np.log((correct + _TINY) / (guessed + _SMALL)).cumsum(axis=-1)
    penalty = np.minimum(0, 1 - (closest + _SMALL) / (length + _TINY))
    return np.exp(logs / np.arange(1, ORDERS + 1) + penalty[..., None])
