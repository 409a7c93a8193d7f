"""Which operators the time of a step goes to, by torch.profiler.

The HMM's compiled kernels are no operators of torch. So its matrices are wrapped: each of their operations is a named
range in the profile. An operator's time is its own, without that of the operators it calls; on a GPU, that of the
kernels it launched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from ctrlg.evaluation.synthetic import SyntheticHMM
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.matrices import StochasticMatrix, WrappedMatrix

SYMBOLIC = "the symbolic half"
SCORES, TRANSITION, EMITTED, LOOK_AHEAD = "next-token scores", "transition", "emitted token", "look-ahead tables"
REST_SYMBOLIC = "mask, weights, normalising"
LINEAR, ATTENTION, SEARCH, COPIES = "linear layers", "attention", "search", "copies and cache"
ELEMENTWISE, REST_NEURAL = "elementwise", "Python, launches"

_HMM_OPERATIONS = (SCORES, TRANSITION, EMITTED, LOOK_AHEAD)
_NEURAL_NAMES = (  # the first whose parts occur in an operator's name
    (ATTENTION, ("scaled_dot_product", "flash", "efficient_attention", "bmm", "_softmax")),
    (LINEAR, ("aten::mm", "addmm", "aten::linear", "aten::matmul", "mkldnn")),
    (SEARCH, ("topk", "sort", "log_softmax", "argmax", "gather", "multinomial")),
    (COPIES, ("copy", "aten::cat", "clone", "index", "contiguous", "aten::to", "reshape", "view", "slice", "select")),
)


class TracedMatrix(WrappedMatrix):
    """Another matrix, whose operations are named ranges in a profile; without a profiler they cost a microsecond."""

    def __init__(self, matrix: StochasticMatrix, left: str, columns: str) -> None:
        super().__init__(matrix)
        self._left, self._columns = left, columns

    def to(self, device: torch.device | str) -> TracedMatrix:
        return TracedMatrix(self._matrix.to(device), self._left, self._columns)

    def left(self, x: Tensor) -> Tensor:
        with record_function(self._left):
            return self._matrix.left(x)

    def right(self, y: Tensor) -> Tensor:
        with record_function(LOOK_AHEAD):
            return self._matrix.right(y)

    def columns(self, ids: Tensor) -> Tensor:
        with record_function(self._columns):
            return self._matrix.columns(ids)

    def class_sums(self, class_of: Tensor, num_classes: int) -> Tensor:
        with record_function(LOOK_AHEAD):
            return self._matrix.class_sums(class_of, num_classes)

    def scores(self, step: ScoringStep) -> Tensor:
        with record_function(SCORES):
            return self._matrix.scores(step)

    def add_scores(
        self,
        log_probs: Tensor,
        step: ScoringStep,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        with record_function(SCORES):
            return self._matrix.add_scores(log_probs, step, out)


def traced(hmm: SyntheticHMM) -> SyntheticHMM:
    """The same HMM, its matrices wrapped."""
    transition = TracedMatrix(hmm.transition, TRANSITION, EMITTED)
    return SyntheticHMM(transition, TracedMatrix(hmm.emission, SCORES, EMITTED), hmm.initial, hmm.fingerprint)


class Trace:
    """A profile of whole steps: from the beginning of one call of the logits processor to that of a later one.

    device: "cpu" or "cuda". seconds: between start and stop. seconds_symbolic: of them in the symbolic half.
    """

    def __init__(self, synchronize: Callable[[], None], device: str) -> None:
        self.on_gpu = device == "cuda"
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self.on_gpu
        self._profile = profile(activities=activities)
        self._synchronize = synchronize
        self._is_on = False
        self._started = 0.0
        self.seconds = self.seconds_symbolic = 0.0

    def start(self) -> None:
        self._profile.start()
        self._is_on = True
        self._started = time.perf_counter()

    def stop(self) -> None:
        self._synchronize()
        self.seconds = time.perf_counter() - self._started
        self._profile.stop()
        self._is_on = False

    @contextmanager
    def symbolic(self) -> Iterator[None]:
        """What runs inside belongs to the symbolic half."""
        started = time.perf_counter()
        with record_function(SYMBOLIC):
            yield
            self._synchronize()
        if self._is_on:
            self.seconds_symbolic += time.perf_counter() - started

    def events(self) -> Any:
        """All operators and ranges; only after `stop`."""
        return self._profile.events() or []


def operator_shares(trace: Trace) -> dict[str, dict[str, float]]:
    """The share of each operator in its half's time, {"neural": {name: share}, "symbolic": ...}, each sums to 1.

    What no operator accounts for (Python, the launching of kernels, compiled code outside of the matrices) is the rest.
    """
    spent: dict[str, dict[str, float]] = {"neural": {}, "symbolic": {}}
    for event in trace.events():
        if event.device_type.name != "CPU":
            continue  # what runs on a GPU is counted with the operator that launched it
        microseconds = event.self_device_time_total if trace.on_gpu else event.self_cpu_time_total
        half, name = _place(event)
        spent[half][name] = spent[half].get(name, 0.0) + 1e-6 * microseconds
    walls = {"neural": trace.seconds - trace.seconds_symbolic, "symbolic": trace.seconds_symbolic}
    for half, rest in (("neural", REST_NEURAL), ("symbolic", REST_SYMBOLIC)):
        missing = walls[half] - sum(spent[half].values())
        spent[half][rest] = spent[half].get(rest, 0.0) + max(missing, 0.0)
    return {
        half: {name: seconds / total for name, seconds in sorted(names.items(), key=lambda item: -item[1])}
        for half, names in spent.items()
        if (total := sum(names.values())) > 0
    }


def _place(event: Any) -> tuple[str, str]:
    """The half an event belongs to, and what its own time is called there."""
    operation = REST_SYMBOLIC
    ancestor = event
    while ancestor is not None:
        if ancestor.name in _HMM_OPERATIONS:
            operation = ancestor.name
        if ancestor.name == SYMBOLIC:
            return "symbolic", operation
        ancestor = ancestor.cpu_parent
    for name, parts in _NEURAL_NAMES:
        if any(part in event.name for part in parts):
            return "neural", name
    return "neural", ELEMENTWISE
