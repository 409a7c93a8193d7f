"""A whole decoding step and what is computed before the first one, beside Ctrl-G on the same card and parameters."""

from __future__ import annotations

import math
import statistics
from functools import partial
from typing import Any

from ctrlg.automata.dfa import DFA
from ctrlg.evaluation.synthetic import SyntheticHMM, keywords_and_words
from gpu_sections import models, steps, timing
from gpu_sections.models import Storage
from gpu_sections.record import Once, Run
from gpu_sections.reference import Reference, Theirs
from gpu_sections.steps import Stepped

STEP_GOAL = 20.0  # times Ctrl-G's step, at the first number of beams and the last automaton
MOST_WAITS = 2
BUILDS = 2  # that are timed, after one that is not
FLAT_GOAL = 1.5
WIDTH_LIMIT = 16384
STORAGES: tuple[Storage, ...] = ("float32", "compressed", "bfloat16")
"""Scores of the first are held against Ctrl-G's, whose times the others are compared with too."""


def measure(run: Run) -> None:
    """What goals speak of comes first: the larger automaton, many beams."""
    sizes = run.sizes
    hmm = models.compressed_hmm(sizes.hidden_states[0], sizes.vocab_size, sizes.entries, run.device)
    for keywords, words in reversed(sizes.automata):
        dfa = keywords_and_words(sizes.vocab_size, keywords, words)
        theirs: dict[int, Theirs] = {}
        for storage in STORAGES:
            if run.out_of_time():
                return
            _measure_model(run, Once(partial(models.hmm_stored_as, hmm, storage)), storage, dfa, theirs)
            timing.free(run.device)


def measure_width(run: Run) -> None:
    """A step of compressed models from the smallest to the largest width the goal speaks of."""
    sizes = run.sizes
    keywords, words = sizes.automata[-1]
    dfa = keywords_and_words(sizes.vocab_size, keywords, words)
    times: dict[tuple[int, int], float] = {}
    widths = [states for states in sizes.hidden_states if states <= WIDTH_LIMIT]

    def step(hmm: Once[SyntheticHMM], hidden_states: int, beams: int) -> None:
        stepped = steps.walk(run, steps.build(run, hmm(), dfa), beams)
        times[hidden_states, beams] = stepped.milliseconds
        name = f"step H={hidden_states} B={beams}"
        run.add(name, stepped.milliseconds, "ms", note=kernel_note(stepped), **detail(stepped))

    for hidden_states in (widths[0], widths[-1], *widths[1:-1]):
        hmm = Once(partial(models.compressed_hmm, hidden_states, sizes.vocab_size, sizes.entries, run.device))
        for beams in sizes.beams[:2]:
            run.attempt(f"step H={hidden_states} B={beams}", partial(step, hmm, hidden_states, beams))
        del hmm
        timing.free(run.device)
    for beams in sizes.beams[:2]:
        narrow, wide = times.get((widths[0], beams)), times.get((widths[-1], beams))
        if narrow and wide:
            ratio = wide / narrow
            run.add(f"step H={widths[-1]} / H={widths[0]} B={beams}", ratio, "x", "<= 1.5 x", ratio <= FLAT_GOAL)


def _measure_model(run: Run, hmm: Once[SyntheticHMM], storage: Storage, dfa: DFA, theirs: dict[int, Theirs]) -> None:
    """theirs: what Ctrl-G measured with this automaton, by beams; the first storage's steps fill it."""
    name = f"{storage} DFA {dfa.num_states}"
    precompute: list[float] = []
    reference = Once(lambda: Reference(run, hmm(), dfa))

    def build() -> None:
        processor = steps.build(run, hmm(), dfa)
        builds = [timing.clock(lambda: steps.build(run, hmm(), dfa), run.device)[0] for _ in range(BUILDS)]
        precompute.append(1e3 * statistics.median(builds))
        run.add(f"{name} precompute", precompute[0], "ms", table_bytes=processor.nbytes)

    def compare(ours: Stepped, beams: int) -> None:
        theirs[beams] = reference().walk(ours)
        timing.free(run.device)

    def step(beams: int) -> None:
        # A processor remembers the texts it has read, so each number of beams gets a new one.
        keep = run.reference is not None and storage == STORAGES[0]
        stepped = steps.walk(run, steps.build(run, hmm(), dfa), beams, keep)
        run.add(f"{name} step B={beams}", stepped.milliseconds, "ms", note=kernel_note(stepped), **detail(stepped))
        if stepped.waits is not None:
            waits = len(stepped.waits)
            places = ", ".join(sorted({place.rpartition("/")[2] for place in stepped.waits}))
            run.add(f"{name} waits B={beams}", waits, "a step", f"<= {MOST_WAITS}", waits <= MOST_WAITS, places)
        if keep:
            run.attempt(f"{name} Ctrl-G B={beams}", partial(compare, stepped, beams))
        if beams in theirs:
            judged = beams == run.sizes.beams[0] and dfa.num_states == _most_states(run)
            built = precompute[0] if precompute else math.nan
            _compare(run, f"{name} vs Ctrl-G B={beams}", stepped.milliseconds, built, theirs[beams], judged)

    run.attempt(f"{name} precompute", build)
    for beams in run.sizes.beams:
        run.attempt(f"{name} B={beams}", partial(step, beams))


def _compare(run: Run, what: str, step: float, precompute: float, theirs: Theirs, judged: bool) -> None:
    ratio = theirs.step / step
    run.add(
        what,
        ratio,
        "x",
        f">= {STEP_GOAL:.0f} x" if judged else "",
        ratio >= STEP_GOAL if judged else None,
        f"step {theirs.step:.1f} ms, precompute {theirs.precompute / precompute:.1f} x, "
        f"apart {theirs.largest_difference:.0e}",
        precompute_ratio=theirs.precompute / precompute,
        **theirs._asdict(),
    )


def _most_states(run: Run) -> int:
    keywords, words = run.sizes.automata[-1]
    return 2**keywords * (words + 1) + 1


def kernel_note(stepped: Stepped) -> str:
    if stepped.watched is None:
        return f"best {stepped.best:.2f}"
    return f"best {stepped.best:.2f}, device busy {stepped.watched.kernels:.2f}"


def detail(stepped: Stepped) -> dict[str, Any]:
    watched = stepped.watched
    return {
        "best_milliseconds": stepped.best,
        "waits": stepped.waits,
        "kernel_milliseconds": watched.kernels if watched else None,
        "profiled_synchronisations": watched.synchronisations if watched else None,
        "copies": watched.copies if watched else None,
    }
