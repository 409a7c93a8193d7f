"""SPICE of sentences (Anderson et al. 2016), by its official jar; see `ctrlg.evaluation.metrics.spice`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ctrlg.evaluation.metrics.spice import require_spice, spice_scores
from eval_metrics.corpus import Texts, check_corpus


class Spice:
    """SPICE and its parts. Raises ArgumentError, saying what is missing, where the jar cannot be run."""

    def __init__(self) -> None:
        require_spice()

    def compute_score(self, gts: Texts, res: Texts) -> tuple[float, list[dict[str, dict[str, float]]]]:
        """(mean F-measure, for each key its categories), keys in sorted order.

        A category ("All", "Object", "Relation", ...) has precision "pr", recall "re", F-measure "f" and counts; NaN
        where there is nothing to compare. Arguments and errors as `check_corpus`; ProcessError where the jar fails.
        """
        keys: list[Any] = sorted(check_corpus(gts, res), key=lambda key: (type(key).__name__, key))
        found = spice_scores([res[key][0] for key in keys], [gts[key] for key in keys], categories=True)
        scores = [
            {category: {name: _number(value) for name, value in values.items()} for category, values in item.items()}
            for item in found
        ]
        return float(np.mean([item["All"]["f"] for item in scores])), scores

    def method(self) -> str:
        """The score's name."""
        return "SPICE"


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
