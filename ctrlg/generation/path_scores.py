"""What the language model thinks of every path a search reads, kept while it reads them.

Ranking what a search found would otherwise read it all again, which costs about as much as the search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor


class PathScores(LogitsProcessor):
    """Changes nothing; remembers the log-probability of each row's tokens after the prompt.

    prompt_length: tokens of a row that do not count. end: the token that ends a text.
    It must see the language model's own scores, that is, come before all processors that change them.
    """

    def __init__(self, prompt_length: int, end: int) -> None:
        self.prompt_length = prompt_length
        self.end = end
        self._last: _Step | None = None
        self._ended: dict[bytes, float] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The same scores. input_ids: int64 [B, prompt + tokens so far]. scores: [B, V], normalised or not."""
        tokens = input_ids[:, self.prompt_length :].cpu().numpy()
        totals = np.zeros(len(tokens)) if self._last is None else self._last.totals_of(tokens)
        normaliser = scores.float().logsumexp(dim=1)
        ending = totals + (scores[:, self.end].float() - normaliser).double().cpu().numpy()
        self._ended.update(zip(_keys(tokens), ending.tolist(), strict=True))
        self._last = _Step({key: row for row, key in enumerate(_keys(tokens))}, totals, scores, normaliser)
        return scores

    def total(self, tokens: tuple[int, ...]) -> float | None:
        """Log-probability of these tokens and the end after them, in nats; None where no row held them."""
        return self._ended.get(np.array(tokens, dtype=np.int64).tobytes())


class _Step(NamedTuple):
    """What a step knew. row_of: of each path. totals: float64 [B]. scores: [B, V]. normaliser: [B]."""

    row_of: dict[bytes, int]
    totals: np.ndarray
    scores: Tensor
    normaliser: Tensor

    def totals_of(self, tokens: np.ndarray) -> np.ndarray:
        """float64 [B'] of paths int64 [B', n] that are those of this step and one token more."""
        rows = [self.row_of[key] for key in _keys(tokens[:, :-1])]
        chosen = torch.from_numpy(np.ascontiguousarray(tokens[:, -1])).to(self.scores.device)
        place = torch.tensor(rows, device=self.scores.device)
        added = self.scores[place, chosen].float() - self.normaliser[place]
        return self.totals[rows] + added.double().cpu().numpy()


def _keys(tokens: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in np.ascontiguousarray(tokens)]
