"""What a step of decoding asks of an emission matrix."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

HEADROOM = 2.0**60
"""Numerator and denominator are multiplied by it, so that small ones stay clear of denormals."""


class ScoringStep(NamedTuple):
    """A batch of B sequences that use R rows of weights for K token classes.

    Attributes:
        weights: [R, H], >= 0, any scale; each row is rescaled by its largest entry on the way.
        predictive: [B, H], >= 0, rows sum to 1.
        row_of: int [B, K], in [-1, R): the row of `weights` that sequence b uses for tokens of class k; -1 is dead.
        class_of: int [N], in [0, K): the class of every token.
    """

    weights: Tensor
    predictive: Tensor
    row_of: Tensor
    class_of: Tensor
