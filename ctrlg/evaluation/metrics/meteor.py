"""METEOR 1.5 (Denkowski and Lavie 2014) of a corpus, from numbers that add up over sentences.

The jar that pycocoevalcap ships aligns sentences with references; the score is computed here, from sums, so that
resampling costs no further alignment: with precision P and recall R of matches weighted by kind, and content words
weighted over function words, it is (1 - 0.6 (chunks / matches)^0.2) P R / (0.85 P + 0.15 R). A test holds it against
the jar's own.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctrlg.errors import ProcessError
from ctrlg.evaluation.metrics.java import Java, find_java, run_jar

STATISTICS = 23
# The jar's parameters for English: recall against precision, fragmentation, content words, kinds of matches.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_KINDS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
_CHUNKS, _SENTENCE_MATCHES, _REFERENCE_MATCHES = 20, 21, 22


def require_meteor() -> Java:
    """The Java to run it on: to be called before long work.

    Raises:
        ArgumentError: as `find_java`.
    """
    return find_java()


def meteor_statistics(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """For each tokenised sentence the jar's counts against the reference that suits it best, float64 [n, STATISTICS]:
    lengths and function words of both, matches of each kind, chunks, words matched.

    Args:
        sentences: n tokenized texts.
        references: tokenized, of each sentence.

    Returns:
        float64 [n, STATISTICS].

    Raises:
        ArgumentError: there is no Java.
        ProcessError: the jar fails.
    """
    lines = [
        " ||| ".join(["SCORE", *map(_one_line, group), _one_line(sentence)])
        for sentence, group in zip(sentences, references, strict=True)
    ]
    arguments = ["-", "-", "-stdio", "-l", "en", "-norm"]
    printed = run_jar(find_java(), _jar(), "2G", arguments, "".join(line + "\n" for line in lines))
    try:
        counts = np.array([list(map(float, line.split())) for line in printed.splitlines()]).reshape(-1, STATISTICS)
    except ValueError as error:
        raise ProcessError("METEOR's jar printed no counts", hint="is pycocoevalcap's meteor-1.5.jar whole?") from error
    if len(counts) != len(lines):
        raise ProcessError(f"METEOR's jar judged {len(counts)} of {len(lines)} sentences", hint="see the sentences")
    # As the jar adds up: a sentence that is its reference, word by word, is not fragmented at all.
    whole = (counts[:, _SENTENCE_MATCHES] == counts[:, 0]) & (counts[:, _REFERENCE_MATCHES] == counts[:, 1])
    counts[whole & (counts[:, _CHUNKS] == 1), _CHUNKS] = 0
    return counts


def meteor_of(statistics: np.ndarray) -> np.ndarray:
    """METEOR, in [0, 1], of summed statistics [..., STATISTICS]: [...].

    Args:
        statistics: summed over sentences, [..., STATISTICS].
    """
    lengths, function_words = statistics[..., 0:2], statistics[..., 2:4]
    # [..., kind, content or function word, sentence or reference], weighted by kind.
    matches = statistics[..., 4:20].reshape(*statistics.shape[:-1], 4, 2, 2)
    matches = (matches * _KINDS[:, None, None]).sum(axis=-3)
    matched = _DELTA * matches[..., 0, :] + (1 - _DELTA) * matches[..., 1, :]
    shares = _ratio(matched, _DELTA * (lengths - function_words) + (1 - _DELTA) * function_words)
    precision, recall = shares[..., 0], shares[..., 1]
    mean = _ratio(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    words = (statistics[..., _SENTENCE_MATCHES] + statistics[..., _REFERENCE_MATCHES]) / 2
    return mean * (1 - _GAMMA * _ratio(statistics[..., _CHUNKS], words) ** _BETA)


def _jar() -> Path:
    package = importlib.util.find_spec("pycocoevalcap.meteor.meteor")
    return Path(str(package and package.origin)).with_name("meteor-1.5.jar")


def _one_line(text: str) -> str:
    """What the jar's protocol of lines and bars can carry."""
    return " ".join(text.replace("|||", "").split())


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """0 where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
