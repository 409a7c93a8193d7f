"""BLEU of a corpus (Papineni et al. 2002)."""

from __future__ import annotations

import importlib
from typing import Any

from ctrlg.errors import ArgumentError
from ctrlg.evaluation.metrics.bleu import ORDERS
from ctrlg.evaluation.metrics.tokens import require_scorers
from eval_metrics.corpus import Texts, check_corpus


class Bleu:
    """BLEU-1 to BLEU-n. Raises ArgumentError for an n other than 1 to 4, and where the extra `eval` is missing."""

    def __init__(self, n: int = ORDERS) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= ORDERS:
            raise ArgumentError(f"n is {n!r}", hint=f"a whole number from 1 to {ORDERS}")
        require_scorers(["pycocoevalcap"])
        self._n = n

    def compute_score(self, gts: Texts, res: Texts) -> tuple[list[float], list[list[float]]]:
        """([BLEU-1, ..., BLEU-n] of the corpus, for each of them its values by sentence), in [0, 1].

        Arguments, order and errors as `check_corpus`. The closest reference is the one whose length counts.
        """
        check_corpus(gts, res)
        scorer: Any = importlib.import_module("pycocoevalcap.bleu.bleu").Bleu(self._n)
        return scorer.compute_score(gts, res, verbose=0)

    def method(self) -> str:
        """The score's name."""
        return "Bleu"
