"""Every operation of a matrix in every storage: held against float64, then timed beside its floor.

A share is the floor over the time that the device is busy with a call, as the profiler sees it: checks of arguments
that run on the device count, waiting for the host does not. The time of the whole call stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.evaluation.synthetic import keywords_and_words
from ctrlg.kernels import reference
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.kernels.token_classes import TokenClasses
from ctrlg.matrices import StochasticMatrix
from ctrlg.matrices.base import MISSING
from gpu_sections import floors, models, timing
from gpu_sections.ceilings import COPY, PRODUCTS
from gpu_sections.models import STORAGES, Storage
from gpu_sections.record import Once, Run

TOLERANCE = {"compressed": 1e-4, "float32": 3e-3, "bfloat16": 3e-2}
"""Largest relative error, in norm: of float32 sums, of TF32 products, of bfloat16 ones with float32 sums."""

OPERATIONS = {"transition": ("left", "right"), "emission": ("add_paired_scores", "columns", "add_scores")}
"""Of each matrix of a model, those that decoding is made of; `add_scores` where the host decides each step."""

GOAL = 0.5  # of the floor, at the first number of beams


class Error(NamedTuple):
    """relative: ||result - truth|| / ||truth||. largest: of one element. Both inf where anything is not finite that
    should be, or the reverse."""

    relative: float
    largest: float


class Inputs(NamedTuple):
    """Of one width, for the most beams; fewer take the first ones. tables: rows of a look-ahead table, [S, H]. ids:
    one a beam, the last one missing."""

    scored: ScoringStep
    logits: Tensor
    tables: Tensor
    ids: Tensor
    live: int  # rows of weights a beam
    row_of: Tensor  # of `tables`, int32 [B, K], -1 for the last class
    offset: Tensor  # float32 [B, K]


def measure(run: Run) -> None:
    """Widths from small to large, in each the storages in turn; at the smallest also an emission whose columns are used
    alike."""
    sizes, device = run.sizes, run.device
    for hidden_states in sizes.hidden_states:
        if run.out_of_time():
            return
        hmm = models.compressed_hmm(hidden_states, sizes.vocab_size, sizes.entries, device)
        inputs = _inputs(run, hidden_states)
        for storage in STORAGES:
            for name, operations in OPERATIONS.items():
                matrix = Once(partial(models.stored_as, getattr(hmm, name), storage))
                for operation in operations:
                    if operation == "add_scores" and storage != "compressed":
                        continue
                    _measure_operation(run, storage, matrix, operation, inputs)
                del matrix
                timing.free(device)
        if hidden_states == sizes.hidden_states[0]:
            even = partial(models.compressed, hidden_states, sizes.vocab_size, sizes.entries, 1.0, 4, device)
            _measure_operation(run, "compressed", Once(even), "add_paired_scores", inputs, "even ")
        del hmm, inputs
        timing.free(device)


def _inputs(run: Run, hidden_states: int) -> Inputs:
    sizes, device = run.sizes, run.device
    beams, (keywords, words) = sizes.beams[0], sizes.automata[-1]
    generator = torch.Generator(device).manual_seed(5)
    automaton = keywords_and_words(sizes.vocab_size, keywords, words)
    class_of = torch.from_numpy(automaton.class_of.copy()).to(device)
    ids = torch.randint(sizes.vocab_size, (beams,), device=device, generator=generator)
    ids[-1] = MISSING
    row_of = torch.randint(automaton.num_states, (beams, keywords + 3), device=device, generator=generator)
    row_of[:, -1] = -1
    return Inputs(
        models.scored(hidden_states, class_of, beams, keywords, device, generator),
        2 * torch.randn(beams, sizes.vocab_size, device=device, generator=generator),
        torch.rand(automaton.num_states, hidden_states, device=device, generator=generator),
        ids,
        keywords + 2,
        row_of.int(),
        torch.randn(row_of.shape, device=device, generator=generator),
    )


def _measure_operation(
    run: Run, storage: Storage, matrix: Once[StochasticMatrix], operation: str, inputs: Inputs, kind: str = ""
) -> None:
    truth = Once(lambda: _truth(matrix(), operation, inputs))
    for beams in run.sizes.beams[:1] if operation == "right" else run.sizes.beams:
        vectors = len(inputs.tables) if operation == "right" else beams
        what = f"{kind}{storage} {operation} H={inputs.tables.shape[1]} B={vectors}"
        run.attempt(what, partial(_measure_one, run, what, storage, matrix, operation, inputs, beams, truth))


@torch.no_grad()
def _measure_one(
    run: Run,
    what: str,
    storage: Storage,
    made: Once[StochasticMatrix],
    operation: str,
    inputs: Inputs,
    beams: int,
    truth: Once[Tensor],
) -> None:
    device, matrix = run.device, made()
    error = _check(matrix, operation, inputs, beams, truth())
    work = _call(matrix, operation, inputs, beams)
    called = timing.milliseconds(work, device, run.sizes.repeats)
    watched = timing.profile(work, device, timing.PROFILED if called < timing.LONG else 1)
    vectors = len(inputs.tables) if operation == "right" else beams
    weights = beams * inputs.live if operation == "add_scores" else 0
    if operation == "add_paired_scores":
        weights = len(inputs.tables)
    least = floors.floor(operation, storage, *matrix.shape, run.sizes.entries, vectors, weights)
    products = {name: run.ceiling(name, rate) for name, rate in PRODUCTS.items()}
    floor = 1e3 * least.seconds(run.ceiling("copy", COPY), products)
    kernels = watched.kernels if watched else called
    right = error.relative <= TOLERANCE[storage]
    judged = beams == run.sizes.beams[0] and operation not in ("columns", "add_scores")
    run.add(
        what,
        floor / kernels,
        "share",
        ">= 50 %" if judged else "",
        right and floor / kernels >= GOAL if judged else None if right else False,
        f"{'err' if right else 'WRONG'} {error.relative:.0e}; {1e3 * kernels:.1f} us, floor {1e3 * floor:.1f}, "
        f"call {1e3 * called:.0f}",
        correct=right,
        relative_error=error.relative,
        largest_error=error.largest,
        call_milliseconds=called,
        kernel_milliseconds=watched.kernels if watched else None,
        synchronisations=watched.synchronisations if watched else None,
        floor_milliseconds=floor,
        bytes=least.bytes,
        operations=least.operations,
    )


def _call(matrix: StochasticMatrix, operation: str, inputs: Inputs, beams: int) -> Callable[[], Any]:
    """The call that is timed; results go into one place where the operation takes one."""
    scored = _first(inputs, beams)
    if operation == "left":
        return lambda: matrix.left(scored.predictive)
    if operation == "right":
        return lambda: matrix.right(inputs.tables)
    if operation == "columns":
        ids = inputs.ids[:beams]
        return lambda: matrix.columns(ids)
    logits = inputs.logits[:beams]
    if operation == "add_paired_scores":
        row_of, offset = inputs.row_of[:beams], inputs.offset[:beams]
        classes = TokenClasses(scored.class_of)
        return lambda: matrix.add_paired_scores(logits, scored.predictive, inputs.tables, row_of, offset, classes)
    out = torch.empty_like(logits)
    return lambda: matrix.add_scores(logits, scored, out=out)


def _first(inputs: Inputs, beams: int) -> ScoringStep:
    """The arguments of the first beams, whose rows of weights come first."""
    weights, predictive, row_of, class_of = inputs.scored
    return ScoringStep(weights[: beams * inputs.live], predictive[:beams], row_of[:beams], class_of)


def _truth(matrix: StochasticMatrix, operation: str, inputs: Inputs) -> Tensor:
    """The result for all beams by the definition, in float64, from the decoded matrix, on the same device."""
    weights, predictive, row_of, class_of = inputs.scored
    if operation == "left":
        return reference.left(matrix, predictive.double())
    if operation == "right":
        return reference.right(matrix, inputs.tables.double())
    if operation == "columns":
        picked = [matrix.column_block(v, v + 1, torch.float64)[:, 0] for v in inputs.ids.clamp(min=0).tolist()]
        return reference.ones_where_missing(torch.stack(picked), inputs.ids)
    if operation == "add_paired_scores":
        row_of, offset = inputs.row_of, inputs.offset
        weights = (predictive[:, None] * inputs.tables[row_of.clamp(min=0).long()]).flatten(0, 1)
        row_of = torch.where(row_of >= 0, torch.arange(len(weights), device=row_of.device).view(row_of.shape), -1)
        scores = reference.scores(matrix, ScoringStep(weights.double(), predictive.double(), row_of, class_of))
        return inputs.logits + offset[:, class_of.long()] + scores
    return inputs.logits + reference.scores(
        matrix, ScoringStep(weights.double(), predictive.double(), row_of, class_of)
    )


def _check(matrix: StochasticMatrix, operation: str, inputs: Inputs, beams: int, truth: Tensor) -> Error:
    """Of the first beams' results, in memory that held NaN."""
    if operation == "add_scores":
        logits, truth = inputs.logits[:beams], truth[:beams]
        out = torch.full_like(logits, math.nan)
        joined, log_sum = matrix.add_scores(logits, _first(inputs, beams), out=out)
        if joined.data_ptr() != out.data_ptr():
            raise AssertionError("add_scores did not write where it was told to")
        both = (error_of(joined, truth), error_of(log_sum, truth.logsumexp(dim=1)))
        return max(both, key=lambda error: error.relative)
    truth = truth if operation == "right" else truth[:beams]
    _poison(truth)
    if operation == "add_paired_scores":
        joined, log_sum = _call(matrix, operation, inputs, beams)()
        both = (error_of(joined, truth), error_of(log_sum, truth.logsumexp(dim=1)))
        return max(both, key=lambda error: error.relative)
    return error_of(_call(matrix, operation, inputs, beams)(), truth)


def _poison(like: Tensor) -> None:
    """Leaves NaN in memory that the next result of this size is likely to be given."""
    for dtype in (torch.float32, torch.bfloat16):
        torch.full_like(like, math.nan, dtype=dtype)


def error_of(result: Tensor, truth: Tensor) -> Error:
    """-inf is right where the truth is -inf; NaN never is."""
    finite = torch.isfinite(truth)
    if result.shape != truth.shape or not bool((torch.isfinite(result) == finite).all()):
        return Error(math.inf, math.inf)
    if not bool((result[~finite].double() == truth[~finite]).all()):
        return Error(math.inf, math.inf)
    difference = torch.where(finite, result.double() - truth, 0.0)
    size = torch.where(finite, truth, 0.0).norm()
    return Error(float(difference.norm() / size), float(difference.abs().max()))
