"""An EM step by this library or by a checkout of Ctrl-G, in a process of its own that works on command.

`benchmarks/em_step.py` starts one such process for each way, so that their times alternate and the peak memory of each
is its own. Both begin from the same random model and the same tokens. Ctrl-G's `forward` and `backward` run as written;
its M-step, which lives inside its training script, is written here with the same operations.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from reference_step import import_checkout
from torch import Tensor

from ctrlg.devices import wait_for
from ctrlg.hmm import Parameters, maximize, total_counts
from ctrlg.hmm.expectation import GROUP_BYTES
from ctrlg.matrices import DenseMatrix

PSEUDOCOUNT = 0.001
PRODUCT_REPEATS = 8
LEAST_EOS_COUNT = 1e-7  # what Ctrl-G leaves the end-of-text token


class Work(NamedTuple):
    """One EM step over `batches` batches of `batch_size` x `length` tokens, sampled from a Zipf law or uniformly."""

    hidden_states: int
    vocab_size: int
    batch_size: int
    length: int
    batches: int
    uniform: bool
    threads: int
    seed: int
    device: str = "cpu"


class Way(NamedTuple):
    """checkout: of Ctrl-G; None is this library. joined: whether small batches are. products: dtype of products."""

    checkout: str | None
    joined: bool
    products: str


class Model(NamedTuple):
    """Probabilities: transition [H, H], emission token-major [V, H], initial [H]."""

    transition: Tensor
    emission: Tensor
    initial: Tensor


class OurStep:
    """The E-step and the M-step of this library, from the layout in which an M-step leaves the parameters."""

    def __init__(self, model: Model, batches: list[Tensor], way: Way) -> None:
        emission = DenseMatrix(model.emission.T)
        self.parameters = Parameters(DenseMatrix(model.transition), emission, model.initial)
        self.batches = batches
        self.products = getattr(torch, way.products)
        self.group_bytes = GROUP_BYTES if way.joined else 0
        self.held: dict[str, Any] = {}

    def expectation(self) -> None:
        self.held.clear()  # EM holds one model and its counts, not those of the repeat before
        self.held["counts"] = total_counts(self.parameters, self.batches, self.products, self.group_bytes)

    def maximisation(self) -> None:
        self.held["estimate"] = maximize(self.held.pop("counts"), PSEUDOCOUNT, consume=True)

    def outcome(self) -> tuple[Tensor, Tensor]:
        return self.held["estimate"].transition, self.held["estimate"].emission


class ReferenceStep:
    """The same by the checkout's HMM."""

    def __init__(self, model: Model, batches: list[Tensor], way: Way) -> None:
        library = import_checkout(str(way.checkout))
        self.hmm = library.HMM.__new__(library.HMM)
        torch.nn.Module.__init__(self.hmm)
        self.hmm.hidden_states, self.hmm.vocab_size, self.hmm.eos_token_id = len(model.initial), len(model.emission), 0
        self.start = (model.transition, model.emission.T.contiguous().log_(), model.initial.log())
        for name, tensor in zip(("alpha_exp", "beta", "gamma"), self.start, strict=True):
            setattr(self.hmm, name, torch.nn.Parameter(tensor, requires_grad=False))
        self.batches = batches

    def expectation(self) -> None:
        self.hmm.update_params(*self.start)
        states, vocabulary = self.hmm.hidden_states, self.hmm.vocab_size
        self.emitted = torch.empty(0)  # as above
        zeros = self.start[0].new_zeros
        self.moves, self.first = zeros(states, states), zeros(states)
        self.emitted = zeros(vocabulary + 1, states)
        for tokens in self.batches:
            self.hmm.backward(tokens, self.hmm.forward(tokens), self.moves, self.emitted, self.first)
        self.moves.mul_(self.hmm.alpha_exp)

    def maximisation(self) -> None:
        vocabulary, eos = self.hmm.vocab_size, self.hmm.eos_token_id
        missing = self.emitted[vocabulary] / (vocabulary - 1)
        self.emitted.add_(missing)
        self.emitted[eos] = (self.emitted[eos] - missing).clamp(min=LEAST_EOS_COUNT)
        by_state = self.emitted[:-1].T.contiguous()
        for counts in (self.moves, by_state, self.first):
            counts += PSEUDOCOUNT / counts.shape[-1]
            counts.div_(counts.sum(dim=-1, keepdim=True))
        self.hmm.update_params(self.moves, by_state.log_(), self.first.log_())

    def outcome(self) -> tuple[Tensor, Tensor]:
        return self.hmm.alpha_exp.data, self.hmm.beta.data.exp()


def random_work(work: Work) -> tuple[Model, list[Tensor]]:
    generator = torch.Generator().manual_seed(work.seed)

    def columns(*shape: int) -> Tensor:
        counts = torch.rand(*shape, generator=generator).pow_(3).add_(1e-6)
        return counts.div_(counts.sum(0))

    states = work.hidden_states
    model = Model(columns(states, states).T.contiguous(), columns(work.vocab_size, states), columns(states))
    ranks = torch.arange(1, work.vocab_size + 1, dtype=torch.float64)
    weights = torch.ones_like(ranks) if work.uniform else 1 / ranks
    size = work.batches * work.batch_size
    tokens = torch.multinomial(weights, size * work.length, replacement=True, generator=generator)
    model = Model(*(tensor.to(work.device) for tensor in model))
    return model, list(tokens.view(size, work.length).to(work.device).split(work.batch_size))


def product_seconds(work: Work, way: Way) -> tuple[float, float]:
    """What the E-step's matrix products take by themselves, in the same shapes and dtype: clock, processor."""
    dtype, states = getattr(torch, way.products), work.hidden_states
    rows = work.batch_size
    if way.joined:
        fitting = GROUP_BYTES // (2 * states * dtype.itemsize * work.length)
        rows = min(work.batches * rows, max(1, fitting // rows) * rows)
    left, arriving = torch.rand(2, work.length, rows, states, device=work.device).to(dtype)
    matrix = torch.rand(states, states, device=work.device).to(dtype)
    moves, out = torch.zeros_like(matrix), torch.empty_like(left[0])

    def products() -> None:
        for t in range(work.length - 1):
            torch.mm(left[t], matrix, out=out)
            torch.mm(arriving[t], matrix.T, out=out)
        moves.addmm_(left[1:].flatten(0, 1).T, arriving[1:].flatten(0, 1))

    scale = work.batches * work.batch_size / rows
    clock, processor = zip(*(seconds(products, work.device) for _ in range(PRODUCT_REPEATS)), strict=True)
    return min(clock) * scale, min(processor) * scale


def seconds(work: Callable[[], object], device: str) -> tuple[float, float]:
    """Of the clock and of the processor, until the device is done."""
    wait_for(device)
    started, used = time.perf_counter(), time.process_time()
    work()
    wait_for(device)
    return time.perf_counter() - started, time.process_time() - used


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


@torch.no_grad()
def serve(work: Work, way: Way) -> None:
    """A JSON line for each line read: "step" times an EM step, "outcome PATH" writes what it estimated, [2] arrays."""
    torch.set_num_threads(work.threads)
    model, batches = random_work(work)
    step = ReferenceStep(model, batches, way) if way.checkout else OurStep(model, batches, way)
    loaded = peak_megabytes()
    for line in sys.stdin:
        answer: dict[str, Any] = {}
        command, _, path = line.strip().partition(" ")
        if command == "step":
            answer["expectation"] = seconds(step.expectation, work.device)
            answer["maximisation"] = seconds(step.maximisation, work.device)
            answer["megabytes"] = peak_megabytes() - loaded
        elif command == "products":
            answer["products"] = product_seconds(work, way)
        elif command == "outcome":
            transition, emission = step.outcome()
            np.savez(path, transition=transition.cpu().numpy(), emission=emission.cpu().numpy())
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(Work(**json.loads(sys.argv[1])), Way(**json.loads(sys.argv[2])))
