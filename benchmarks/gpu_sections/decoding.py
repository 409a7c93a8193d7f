"""A whole decoding step and what is computed before the first one, beside Ctrl-G on the same card and parameters."""

from __future__ import annotations

import statistics
from typing import Any

from ctrlg.automata.dfa import DFA
from ctrlg.evaluation.synthetic import SyntheticHMM, keywords_and_words
from gpu_sections import models, steps, timing
from gpu_sections.models import Storage
from gpu_sections.record import Run
from gpu_sections.reference import Reference, Theirs
from gpu_sections.steps import Stepped

STEP_GOAL = 20.0  # times Ctrl-G's step, at the first number of beams and the last automaton
MOST_WAITS = 2
BUILDS = 2  # that are timed, after one that is not
FLAT_GOAL = 1.5
WIDTH_LIMIT = 16384
STORAGES: tuple[Storage, ...] = (
    "float32",
    "compressed",
    "bfloat16",
)  # the first one's scores are held against Ctrl-G's


def measure(run: Run) -> None:
    """What goals speak of comes first: the larger automaton, many beams."""
    sizes = run.sizes
    hmm = models.compressed_hmm(sizes.hidden_states[0], sizes.vocab_size, sizes.entries, run.device)
    for keywords, words in reversed(sizes.automata):
        dfa = keywords_and_words(sizes.vocab_size, keywords, words)
        theirs: dict[int, Theirs] = {}
        for storage in STORAGES:
            _measure_model(run, models.hmm_stored_as(hmm, storage), storage, dfa, theirs)
            timing.free(run.device)


def measure_width(run: Run) -> None:
    """A step of compressed models from the smallest to the largest width the goal speaks of."""
    sizes = run.sizes
    keywords, words = sizes.automata[-1]
    dfa = keywords_and_words(sizes.vocab_size, keywords, words)
    for beams in sizes.beams[:2]:
        times: dict[int, float] = {}
        for hidden_states in (states for states in sizes.hidden_states if states <= WIDTH_LIMIT):
            if run.out_of_time():
                break
            hmm = models.compressed_hmm(hidden_states, sizes.vocab_size, sizes.entries, run.device)
            stepped = steps.walk(run, steps.build(run, hmm, dfa), beams)
            times[hidden_states] = stepped.milliseconds
            run.add(
                f"step H={hidden_states} B={beams}",
                stepped.milliseconds,
                "ms",
                note=kernel_note(stepped),
                **detail(stepped),
            )
            del hmm
            timing.free(run.device)
        if len(times) > 1:
            narrow, wide = min(times), max(times)
            ratio = times[wide] / times[narrow]
            run.add(f"step H={wide} / H={narrow} B={beams}", ratio, "x", "<= 1.5 x", ratio <= FLAT_GOAL)


def _measure_model(run: Run, hmm: SyntheticHMM, storage: Storage, dfa: DFA, theirs: dict[int, Theirs]) -> None:
    """theirs: what Ctrl-G measured with this automaton, by beams; the first storage's steps fill it."""
    sizes, device = run.sizes, run.device
    name = f"{storage} DFA {dfa.num_states}"
    if run.out_of_time():
        return
    processor = steps.build(run, hmm, dfa)
    builds = [timing.clock(lambda: steps.build(run, hmm, dfa), device)[0] for _ in range(BUILDS)]
    precompute = 1e3 * statistics.median(builds)
    run.add(f"{name} precompute", precompute, "ms", table_bytes=processor.nbytes)
    with_reference = run.reference is not None and storage == STORAGES[0]
    reference = _reference(run, hmm, dfa) if with_reference else None
    for beams in sizes.beams:
        if run.out_of_time():
            return
        # A processor remembers the texts it has read, so each number of beams gets a new one.
        stepped = steps.walk(run, steps.build(run, hmm, dfa), beams, reference is not None)
        run.add(f"{name} step B={beams}", stepped.milliseconds, "ms", note=kernel_note(stepped), **detail(stepped))
        if stepped.waits is not None:
            waits = len(stepped.waits)
            places = ", ".join(sorted({place.rpartition("/")[2] for place in stepped.waits}))
            run.add(f"{name} waits B={beams}", waits, "a step", f"<= {MOST_WAITS}", waits <= MOST_WAITS, places)
        if reference is not None:
            try:
                theirs[beams] = reference.walk(stepped)
            except (Exception, SystemExit) as error:  # Ctrl-G leaves the process where it is lost
                run.missing(f"{name} Ctrl-G B={beams}", error)
            timing.free(device)
        if beams in theirs:
            judged = beams == sizes.beams[0] and dfa.num_states == _most_states(run)
            _compare(run, f"{name} vs Ctrl-G B={beams}", stepped.milliseconds, precompute, theirs[beams], judged)


def _reference(run: Run, hmm: SyntheticHMM, dfa: DFA) -> Reference | None:
    try:
        return Reference(run, hmm, dfa)
    except (Exception, SystemExit) as error:
        run.missing(f"Ctrl-G DFA {dfa.num_states}", error)
        return None


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
