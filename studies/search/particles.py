"""Sequential Monte Carlo: particles sampled from the guided model, weighted and resampled.

The HMM's p(constraint | text so far) is the twist. A particle is weighed by how much more, or less, of the language
model keeps the constraint than the HMM had said; where the weights differ too much, particles are sampled anew.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ctrlg.decoding.cursors import Cursor, CursorBatch, advance_all


@torch.no_grad()
def particles(model: Any, batch: CursorBatch, start: Cursor, number: int, seed: int) -> list[tuple[int, ...]]:
    """Contents of so many particles, the likely ones perhaps several times; all of them have ended.

    Args:
        model: a causal language model; it reads end of text first.
        batch: scores the cursors.
        start: at the beginning of a content.
        number: of particles.
        seed: of the samples.
    """
    random = torch.Generator().manual_seed(seed)
    end, suffix = start.guide.eos_token_id, len(start.guide.suffix_ids)
    cursors = [start.copy() for _ in range(number)]
    tokens = torch.full((number, 1), end)
    past: Any = None
    weights = torch.zeros(number, dtype=torch.float64)
    expected = torch.zeros(number, dtype=torch.float64)  # of a constant, before the first token
    while not all(cursor.over for cursor in cursors):
        read = model(tokens, past_key_values=past, use_cache=True)
        past = read.past_key_values
        ratios = batch.log_ratios(cursors)
        scores = read.logits[:, -1].float().log_softmax(dim=1) + ratios
        running = torch.tensor([not cursor.over for cursor in cursors])
        weights += torch.where(running, scores.double().logsumexp(dim=1) - expected, 0.0)
        following = torch.full((number,), end)
        following[running] = torch.multinomial(scores[running].softmax(dim=1), 1, generator=random)[:, 0]
        chosen = ratios.double().gather(1, following[:, None])[:, 0]
        expected = torch.where(running, chosen, 0.0)
        living = running.nonzero()[:, 0].tolist()
        advance_all([cursors[row] for row in living], following[living].tolist())
        tokens = following[:, None]
        if effective(weights) < number / 2:
            rows = resampled(weights, random)
            past.reorder_cache(rows)
            cursors = [cursors[row].copy() for row in rows.tolist()]
            tokens, expected, weights = tokens[rows], expected[rows], torch.zeros_like(weights)
    return [tuple(cursor.tokens[: len(cursor.tokens) - suffix]) for cursor in cursors]


def effective(log_weights: Tensor) -> float:
    """The number of equally weighted particles that would be worth as much."""
    shares = log_weights.softmax(dim=0)
    return float(1 / shares.square().sum())


def resampled(log_weights: Tensor, random: torch.Generator) -> Tensor:
    """Places of particles sampled by their weights, as many; systematic, so each comes its share of times within 1."""
    number = len(log_weights)
    points = (torch.rand(1, generator=random, dtype=torch.float64) + torch.arange(number)) / number
    return torch.searchsorted(log_weights.softmax(dim=0).cumsum(dim=0), points).clamp_(max=number - 1)
