"""EM in memory until held-out likelihood falls: for studies, where `trainer` is for runs that are kept."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from ctrlg.distillation.em.step import EMSettings, em_step, per_token
from ctrlg.errors import ArgumentError
from ctrlg.hmm import HMM, Prior


class Fit(NamedTuple):
    """The model with the best held-out likelihood, that likelihood (nats per token), and the steps it took."""

    model: HMM
    held_out: float
    steps: int


def fit(
    first: HMM,
    sequences: Tensor,
    held_out: Tensor,
    settings: EMSettings,
    prior_strength: float,
    next_tokens: Tensor | None = None,
    most_steps: int = 30,
    report: Callable[[int, float], None] = lambda step, held_out: None,
) -> Fit:
    """EM over sequences int64 [n, T] from `first`, which is left as it is, until held_out int64 [m, T] no longer rises.

    prior_strength: observations a state with the emissions of `first`. next_tokens: as for `em_step`. report: told
    after every step. Raises ArgumentError for no step.
    """
    if most_steps < 1:
        raise ArgumentError(f"most_steps is {most_steps}", hint="1 or more")
    prior = Prior(first.emission.to_dense().clone(), prior_strength) if prior_strength > 0 else None
    model = copy.deepcopy(first)
    best = Fit(first, per_token(first, held_out, settings.batch_size), 0)
    for step in range(1, most_steps + 1):
        em_step(model, sequences, settings, prior, step=step, next_tokens=next_tokens)
        value = per_token(model, held_out, settings.batch_size)
        report(step, value)
        if value <= best.held_out:
            break
        best = Fit(copy.deepcopy(model), value, step)
    return best
