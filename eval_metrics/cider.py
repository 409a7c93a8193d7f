"""CIDEr-D of sentences (Vedantam et al. 2015)."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation.metrics.bleu import ORDERS
from ctrlg.evaluation.metrics.tokens import require_scorers
from eval_metrics.corpus import Texts, check_corpus


class Cider:
    """CIDEr-D, a mean over n orders of n-grams, with a Gaussian penalty of width sigma on differences of length.

    test, refs: unused; they keep the positions of n and sigma. n: 4 or more; n-grams of more than 4 tokens never match.
    Raises ArgumentError for a smaller n, a sigma that is not positive, and where the extra `eval` is missing.
    """

    def __init__(self, test: object = None, refs: object = None, n: int = ORDERS, sigma: float = 6.0) -> None:
        if n < ORDERS or not sigma > 0:
            raise ArgumentError(f"n is {n!r}, sigma {sigma!r}", hint=f"n of {ORDERS} or more, sigma above 0")
        require_scorers(["pycocoevalcap"])
        self._n, self._sigma = n, sigma

    def compute_score(self, gts: Texts, res: Texts) -> tuple[float, np.ndarray]:
        """(mean over sentences, value of each), in [0, 10]; document frequencies are those of these references.

        Arguments, order and errors as `check_corpus`; DataError also where no reference has a token.
        """
        check_corpus(gts, res)
        if not any(text.split() for group in gts.values() for text in group):
            raise DataError("no reference has a token", hint="tokens separated by spaces")
        scorer: Any = importlib.import_module("pycocoevalcap.cider.cider").Cider(n=self._n, sigma=self._sigma)
        return scorer.compute_score(gts, res)

    def method(self) -> str:
        """The score's name."""
        return "CIDEr"
