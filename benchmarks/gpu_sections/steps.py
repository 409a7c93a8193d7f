"""Decoding steps under a constraint: along sampled texts, each step timed from a device at rest to a device at rest."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.automata.dfa import DFA
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.evaluation.synthetic import SyntheticHMM
from gpu_sections import timing
from gpu_sections.record import Run

SUFFIX_TOKEN = 7
WARM_UP_STEPS = 2  # where all beams are still alike
WATCHED_STEPS = 2  # after the timed ones: one that torch's warnings count, one that the profiler watches


class Text(NamedTuple):
    """What the beams wrote: rows int64 [B, T + 1] behind a prompt of one token; logits [B, V] of each step."""

    rows: Tensor
    logits: list[Tensor]


class Stepped(NamedTuple):
    """milliseconds: median of a step. best: the fastest. waits: places where the host waited for the device in a step,
    None on a CPU. watched: what the profiler saw of a step. text: what was written. scores: results of the steps; both
    without their steps unless asked for."""

    milliseconds: float
    best: float
    waits: list[str] | None
    watched: timing.Profile | None
    text: Text
    scores: list[Tensor]


def build(run: Run, hmm: SyntheticHMM, dfa: DFA) -> ConstraintLogitsProcessor:
    return ConstraintLogitsProcessor(
        hmm, dfa, least_tokens(run), run.sizes.tokens, [0], [], [SUFFIX_TOKEN, hmm.eos_token_id]
    )


def least_tokens(run: Run) -> int:
    """So many that no text can be over before the last step that is taken."""
    return WARM_UP_STEPS + run.sizes.steps + WATCHED_STEPS


@torch.no_grad()
def walk(run: Run, processor: ConstraintLogitsProcessor, beams: int, keep_scores: bool = False) -> Stepped:
    """Steps of `beams` texts that are sampled from the joined scores; the language model's are random."""
    device = run.device
    generator = torch.Generator(device).manual_seed(6)
    rows = torch.zeros(beams, 1, dtype=torch.long, device=device)
    times, kept_logits, kept_scores = [], [], []
    waits, watched = None, None
    for step in range(WARM_UP_STEPS + run.sizes.steps + WATCHED_STEPS):
        logits = 2 * torch.randn(beams, processor.vocab_size, device=device, generator=generator)
        work = _call(processor, rows, logits)
        # The processor reads a row's new token once, so only the first call with these rows is a whole step.
        after = step - WARM_UP_STEPS - run.sizes.steps
        if after == 0:
            waits = timing.synchronisations(work, device)
        elif after == 1:
            watched = timing.profile(work, device, calls=1)
        seconds, scores = timing.clock(work, device)
        if step >= WARM_UP_STEPS and after < 0:
            times.append(1e3 * seconds)
        if keep_scores:
            kept_logits.append(logits)
            kept_scores.append(scores)
        rows = torch.cat([rows, torch.multinomial(scores.exp(), 1, generator=generator)], dim=1)
    return Stepped(statistics.median(times), min(times), waits, watched, Text(rows, kept_logits), kept_scores)


def _call(processor: Any, rows: Tensor, logits: Tensor) -> Callable[[], Tensor]:
    return lambda: processor(rows, logits)
