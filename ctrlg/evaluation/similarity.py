"""BLEU and CIDEr of sentences against references, by pycocoevalcap's scorers on spaCy's tokens.

As in CommonGen's own evaluation, with one difference: its tokenizer is that of a trained pipeline of spaCy, which is
the rule-based one of `spacy.blank("en")`. Needs the extra `eval`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ctrlg.errors import ArgumentError, DataError

ORDERS = 4


class Similarity(NamedTuple):
    """bleu: BLEU-1..4 of the whole corpus (Papineni et al. 2002), [4], in [0, 1]. cider: CIDEr-D of each sentence
    (Vedantam et al. 2015), [n], in [0, 10]; document frequencies are those of these references."""

    bleu: tuple[float, ...]
    cider: np.ndarray


def require_scorers() -> None:
    """Raises ArgumentError where the extra `eval` is not installed: to be called before long work."""
    missing = [name for name in ("pycocoevalcap", "spacy") if importlib.util.find_spec(name) is None]
    if missing:
        raise ArgumentError(f"{' and '.join(missing)} not installed", hint="pip install 'ctrlg[eval]'")


def similarity(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> Similarity:
    """How near each sentence comes to its references.

    Raises DataError for no sentences, numbers that differ, and a sentence without references, ArgumentError as
    require_scorers.
    """
    if len(sentences) != len(references) or not sentences:
        raise DataError(f"{len(sentences)} sentences for {len(references)} sets of references", hint="one for each")
    require_scorers()
    without = [index for index, group in enumerate(references) if not group]
    if without:
        raise DataError(f"sentence {without[0]} has no reference", hint="leave it out")
    return _similarity([tokenised(text) for text in sentences], [[tokenised(text) for text in r] for r in references])


def tokenised(text: str) -> str:
    """The text's tokens, separated by single spaces."""
    return " ".join(token.text for token in _tokenizer()(text) if not token.is_space)


def interval(
    sentences: Sequence[str], references: Sequence[Sequence[str]], resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % intervals of BLEU-4 and of mean CIDEr by bootstrap over sentences (percentiles); document frequencies
    are held."""
    cider = similarity(sentences, references).cider
    tokens = [tokenised(text) for text in sentences]
    groups = [[tokenised(text) for text in group] for group in references]
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(tokens), size=(resamples, len(tokens)))
    bleu = [_bleu([tokens[i] for i in row], [groups[i] for i in row])[-1] for row in drawn]
    return {name: _percentiles(values) for name, values in (("bleu_4", bleu), ("cider", cider[drawn].mean(axis=1)))}


def _similarity(sentences: list[str], references: list[list[str]]) -> Similarity:
    from pycocoevalcap.cider.cider import Cider

    _, cider = Cider().compute_score(*_corpus(sentences, references))
    return Similarity(_bleu(sentences, references), np.asarray(cider, dtype=np.float64))


def _bleu(sentences: list[str], references: list[list[str]]) -> tuple[float, ...]:
    from pycocoevalcap.bleu.bleu import Bleu

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its counts
        bleu, _ = Bleu(ORDERS).compute_score(*_corpus(sentences, references))
    return tuple(map(float, bleu))


def _corpus(sentences: list[str], references: list[list[str]]) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    return dict(enumerate(references)), {index: [text] for index, text in enumerate(sentences)}


def _percentiles(values: Any) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


@cache
def _tokenizer() -> Any:
    import spacy

    return spacy.blank("en")
