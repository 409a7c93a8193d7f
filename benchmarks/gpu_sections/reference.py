"""Ctrl-G's processor in this process, on the same device, parameters, texts and language model's scores.

Its package is imported from a checkout under another name. It asks torch for TF32 products when it is imported; that
setting holds while it runs and not while this library does. It runs as written, or compiled as it asks to be.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from reference_step import ALLOWED, NAME, import_checkout

from ctrlg.automata.dfa import DFA
from ctrlg.evaluation.synthetic import SyntheticHMM
from gpu_sections import timing
from gpu_sections.record import Run
from gpu_sections.steps import SUFFIX_TOKEN, Stepped, least_tokens

STEPS = 3  # that are timed, after one that is not
ARRAYS = 8  # of sequences * states * V floats that it holds at a time, about
SCORE_BYTES = 2**29  # of each of them, where the device does not tell its free memory


class Theirs(NamedTuple):
    """step, precompute: milliseconds. batch: sequences it scored at a time. largest_difference: of a score that both
    allow. masked_by_one: tokens that only one of the two allows. compiled: whether by torch.compile."""

    step: float
    precompute: float
    batch: int
    largest_difference: float
    masked_by_one: int
    compiled: bool


class Reference:
    """Its processor for one model and automaton."""

    def __init__(self, run: Run, hmm: SyntheticHMM, dfa: DFA) -> None:
        self._run = run
        with as_written(run) as library:
            model = library.HMM.__new__(library.HMM)
            torch.nn.Module.__init__(model)
            model.alpha_exp = hmm.transition.to_dense()
            model.beta = hmm.emission.to_dense().log()  # a dense matrix shares its memory
            model.gamma = hmm.initial.log()
            model.hidden_states, model.vocab_size, model.eos_token_id = (
                hmm.hidden_states,
                hmm.vocab_size,
                hmm.eos_token_id,
            )
            automaton = library.DFAModel(_edges(dfa), hmm.vocab_size).to(run.device)
            tokens = run.sizes.tokens
            arguments = (model, automaton, least_tokens(run), tokens, [0], [], [SUFFIX_TOKEN, hmm.eos_token_id])
            seconds, self._processor = timing.clock(lambda: library.ConstraintLogitsProcessor(*arguments), run.device)
        self._precompute = 1e3 * seconds
        self._row_bytes = 4 * dfa.num_states * hmm.vocab_size

    @torch.no_grad()
    def walk(self, ours: Stepped) -> Theirs:
        """The first steps of the text that this library wrote; every prefix follows from the one before."""
        device, text = self._run.device, ours.text
        timing.free(device)
        available = torch.cuda.mem_get_info(device)[0] // ARRAYS if device.type == "cuda" else SCORE_BYTES
        batch = max(1, min(len(text.rows), available // self._row_bytes))
        self._processor.hmm_batch_size = batch
        times, differences, masked = [], [], 0
        with as_written(self._run):
            for step in range(STEPS + 1):
                rows, logits = text.rows[:, : step + 1], text.logits[step].clone()
                seconds, scores = timing.clock(lambda: self._processor(rows, logits), device)  # noqa: B023
                times.append(1e3 * seconds)
                allowed, ours_allowed = scores > ALLOWED, torch.isfinite(ours.scores[step])
                masked += int((allowed != ours_allowed).sum())
                both = allowed & ours_allowed
                differences.append(float((scores - ours.scores[step])[both].abs().max()))
        return Theirs(
            statistics.median(times[1:]), self._precompute, batch, max(differences), masked, self._run.compiled
        )


@contextmanager
def as_written(run: Run) -> Iterator[Any]:
    """Its package, with the settings it runs under."""
    with (
        timing.float32_products("high"),
        torch.no_grad(),
        torch.compiler.set_stance("default" if run.compiled else "force_eager"),
    ):
        yield sys.modules.get(NAME) or import_checkout(str(run.reference))


def _edges(dfa: DFA) -> dict[str, Any]:
    """Ctrl-G's form of an automaton: edges with the tokens they are taken by, bool [V]."""
    edges = [
        (state, following, np.isin(dfa.class_of, np.flatnonzero(dfa.delta[state] == following)))
        for state in range(dfa.num_states)
        for following in np.unique(dfa.delta[state]).tolist()
    ]
    return {"edges": edges, "initial_state": dfa.initial, "accept_states": np.flatnonzero(dfa.accepting).tolist()}
