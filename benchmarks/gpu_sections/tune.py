"""The shapes in which the kernels of the scores are launched: those of the library beside others, best first."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from ctrlg.evaluation.synthetic import keywords_and_words
from ctrlg.kernels import entries, gpu_kernels, token_classes
from ctrlg.matrices import CompressedMatrix, StochasticMatrix
from gpu_sections import models, timing
from gpu_sections.record import Run

SHOWN = 3  # of the shapes tried, beside the library's own

SECONDS = 25.0  # for each kernel; every shape is compiled first

Shape = tuple[int, ...]
Scored = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""What `add_paired_scores` takes before the classes."""


def measure(run: Run) -> None:
    """At the smallest width and the most beams."""
    sizes, device = run.sizes, run.device
    generator = torch.Generator(device).manual_seed(7)
    emission = models.compressed(sizes.hidden_states[0], sizes.vocab_size, sizes.entries, models.SKEW, 3, device)
    if not gpu_kernels(emission.codes):
        run.add("shapes", None, "", "", None, "no Triton kernels for this device")
        return
    keywords, words = sizes.automata[-1]
    automaton = keywords_and_words(sizes.vocab_size, keywords, words)
    class_of = torch.from_numpy(automaton.class_of.copy()).to(device)
    beams = sizes.beams[0]
    inputs = models.scored(sizes.hidden_states[0], class_of, beams, keywords, device, generator)
    logits = torch.randn(beams, sizes.vocab_size, device=device, generator=generator)
    rows = torch.rand(automaton.num_states, sizes.hidden_states[0], device=device, generator=generator)
    row_of = torch.randint(automaton.num_states, (beams, automaton.num_classes), device=device, generator=generator)
    scored = (logits, inputs.predictive, rows, row_of.int(), torch.zeros(row_of.shape, device=device))
    run.attempt("compressed", partial(_compressed, run, emission, scored, class_of))
    dtypes: tuple[models.Storage, ...] = ("bfloat16", "float32")
    for dtype in dtypes:
        matrix = models.stored_as(emission, dtype)
        run.attempt(dtype, partial(_dense, run, dtype, matrix, scored, class_of))
        del matrix
        timing.free(device)


def _compressed(run: Run, matrix: CompressedMatrix, scored: Scored, class_of: Tensor) -> None:
    from ctrlg.kernels.gpu import compressed, sums

    def call(shape: Shape) -> Callable[[], Any]:
        fresh = CompressedMatrix(  # with lists of its own, that begin with so many entries
            matrix.codes, matrix.column_starts, matrix.row_of_entry, matrix.scale, matrix.background, matrix.codebook,
            matrix.shape,
        )  # fmt: skip
        classes = token_classes.TokenClasses(class_of)
        return lambda: fresh.add_paired_scores(*scored, classes)

    places = {"HEAD": (entries, compressed), "MOST_LANES": (sums,), "TILE": (sums,)}
    own = (entries.HEAD, sums.MOST_LANES, sums.TILE)
    _try(run, "compressed", places, own, itertools.product((32, 16, 64, 8), (64, 128, 32), (1024, 2048, 4096)), call)


def _dense(run: Run, name: str, matrix: StochasticMatrix, scored: Scored, class_of: Tensor) -> None:
    from ctrlg.kernels.gpu import dense

    places = {
        "TILE": (token_classes, dense), "MOST_LANES": (dense,), "STATES_BYTES": (dense,), "WARPS": (dense,),
        "STAGES": (dense,),
    }  # fmt: skip
    own = (token_classes.TILE, dense.MOST_LANES, dense.STATES_BYTES, dense.WARPS, dense.STAGES)
    shapes = itertools.product((128, 256), (64, 128), (128, 64), (8, 4), (3, 4, 2))

    def call(shape: Shape) -> Callable[[], Any]:
        classes = token_classes.TokenClasses(class_of)
        return lambda: matrix.add_paired_scores(*scored, classes)

    _try(run, name, places, own, shapes, call)


def _try(
    run: Run,
    name: str,
    places: Mapping[str, Sequence[Any]],
    own: Shape,
    shapes: itertools.product[Any],
    call: Callable[[Shape], Callable[[], Any]],
) -> None:
    """Times of the scores in each shape until time is over; a shape that does not compile is left out."""
    times: dict[Shape, float] = {}
    failed: dict[Shape, str] = {}
    enough = time.monotonic() + SECONDS
    for shape in itertools.islice(dict.fromkeys([own, *shapes]), run.sizes.shapes):
        if run.out_of_time() or time.monotonic() > enough:
            break
        with ExitStack() as patched:
            for (constant, modules), value in zip(places.items(), shape, strict=True):
                for module in modules:
                    patched.enter_context(mock.patch.object(module, constant, value))
            try:
                times[shape] = timing.milliseconds(call(shape), run.device, run.sizes.repeats, seconds=0.05)
            except Exception as error:  # too many registers, too much shared memory
                failed[shape] = str(error)[:200]
    best = sorted(times, key=times.__getitem__)
    note = f"{len(times)} ran, {len(failed)} did not"
    everything = {str(shape): value for shape, value in times.items()}
    failures = {str(shape): error for shape, error in failed.items()}
    for shape in dict.fromkeys([own, *best[:SHOWN]]):
        if shape in times:
            which = "as it is" if shape == own else "other"
            what = f"{name} {'/'.join(map(str, shape))}"
            run.add(what, 1e3 * times[shape], "us", "", None, f"{which}; {'/'.join(places)}; {note}")
    run.add(f"{name} best / own", times[best[0]] / times[own] if own in times else None, "x", "", None, note,
            times=everything, failed=failures)  # fmt: skip
