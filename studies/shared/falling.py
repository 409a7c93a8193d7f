"""A strength that falls as tokens run out, for studies of how strongly the guide pulls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from torch import Tensor

from ctrlg.decoding.processor import ConstraintLogitsProcessor


@contextmanager
def falling_strength(strength: float, tokens: int) -> Iterator[None]:
    """Inside, processors begin with this strength and end, after so many tokens, with 1."""

    class Falling(ConstraintLogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            written = input_ids.shape[1] - len(self.prompt_ids)
            self.strength = 1 + (strength - 1) * max(0.0, 1 - written / tokens)
            return super().__call__(input_ids, scores)

    with patch("ctrlg.generation.tracing.origin.ConstraintLogitsProcessor", Falling):
        yield
