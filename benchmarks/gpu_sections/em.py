"""One EM step on one batch, beside Ctrl-G's and pyjuice's, from the same random model and tokens."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from reference_em import Model, OurStep, ReferenceStep, Way
from torch import Tensor

from gpu_sections import timing
from gpu_sections.record import Run
from gpu_sections.reference import as_written

REPEATS = 5  # most; after one that is not counted
REFERENCE_GOAL = 3.0
PYJUICE_GOAL = 1.0
PSEUDOCOUNT = 0.001
WAYS = ("float32", "bfloat16")  # of the products


class Times(dict[str, float]):
    """Milliseconds: "expectation", "maximisation"."""

    @property
    def whole(self) -> float:
        return sum(self.values())


def measure(run: Run) -> None:
    model, batches = _random_work(run)
    checkout = str(run.reference) if run.reference else None
    ours: dict[str, Times] = {}
    outcomes: dict[str, tuple[Tensor, Tensor]] = {}

    def own(products: str) -> None:
        step = OurStep(model, batches, Way(None, True, products))
        ours[products] = _times(run, step)
        outcomes[products] = step.outcome()
        _add(run, f"EM step {products}", ours[products], batches)

    for products in WAYS:
        run.attempt(f"EM step {products}", partial(own, products))
        timing.free(run.device)
    if checkout:
        run.attempt("EM step Ctrl-G", lambda: _beside_reference(run, model, batches, checkout, ours, outcomes))
    outcomes.clear()
    timing.free(run.device)
    run.attempt("EM step pyjuice", lambda: _beside_pyjuice(run, batches, ours))


def _beside_reference(
    run: Run,
    model: Model,
    batches: list[Tensor],
    checkout: str,
    ours: dict[str, Times],
    outcomes: dict[str, tuple[Tensor, Tensor]],
) -> None:
    """It makes tensors where torch makes them by default, so the device is that."""
    with as_written(run), torch.device(run.device):
        step = ReferenceStep(model, batches, Way(checkout, False, "float32"))
        theirs = _times(run, step)
        truth = step.outcome()
    _add(run, "EM step Ctrl-G", theirs, batches)
    for products, times in ours.items():
        ratio = theirs.whole / times.whole
        apart = max(
            float((mine - true).abs().max() / true.max()) for mine, true in zip(outcomes[products], truth, strict=True)
        )
        run.add(
            f"EM step {products} vs Ctrl-G",
            ratio,
            "x",
            f">= {REFERENCE_GOAL:.0f} x",
            ratio >= REFERENCE_GOAL,
            f"E-step {theirs['expectation'] / times['expectation']:.1f} x, estimates apart {apart:.0e}",
            expectation_ratio=theirs["expectation"] / times["expectation"],
            largest_difference=apart,
        )


def _beside_pyjuice(run: Run, batches: list[Tensor], ours: dict[str, Times]) -> None:
    """A homogeneous HMM of the same size as a circuit; its kernels run on a card only."""
    pyjuice = importlib.import_module("pyjuice")

    sizes = run.sizes.expectation
    circuit = pyjuice.compile(pyjuice.structures.HMM(sizes.length, sizes.hidden_states, sizes.vocab_size))
    circuit.to(run.device)
    tokens = torch.cat(batches)

    def expectation() -> None:
        circuit(tokens)
        circuit.backward(tokens, flows_memory=0.0)

    def maximisation() -> None:
        circuit.mini_batch_em(step_size=1.0, pseudocount=PSEUDOCOUNT)

    theirs = _medians(run, expectation, maximisation)
    _add(run, "EM step pyjuice", theirs, batches)
    for products, times in ours.items():
        ratio = theirs.whole / times.whole
        run.add(f"EM step {products} vs pyjuice", ratio, "x", ">= 1 x", ratio >= PYJUICE_GOAL)


def _add(run: Run, what: str, times: Times, batches: list[Tensor]) -> None:
    tokens = sum(batch.numel() for batch in batches)
    peak = torch.cuda.max_memory_allocated(run.device) if run.device.type == "cuda" else None
    run.add(
        what,
        times.whole,
        "ms",
        note=f"E {times['expectation']:.1f}, M {times['maximisation']:.1f} ms; "
        f"{1e3 * tokens / times['expectation']:,.0f} tokens/s",
        tokens=tokens,
        peak_bytes=peak,
        **dict[str, Any](times),
    )


def _times(run: Run, step: OurStep | ReferenceStep) -> Times:
    if run.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(run.device)
    with torch.no_grad():
        return _medians(run, step.expectation, step.maximisation)


def _medians(run: Run, expectation: Callable[[], Any], maximisation: Callable[[], Any]) -> Times:
    """Of up to REPEATS whole steps, fewer where the section runs out of time."""
    taken: list[tuple[float, float]] = []
    for repeat in range(min(REPEATS, run.sizes.repeats) + 1):
        if len(taken) > 1 and run.out_of_time():
            break
        pair = (timing.clock(expectation, run.device)[0], timing.clock(maximisation, run.device)[0])
        if repeat:
            taken.append(pair)
    middle = [sorted(column)[len(taken) // 2] for column in zip(*taken, strict=True)]
    return Times(expectation=1e3 * middle[0], maximisation=1e3 * middle[1])


def _random_work(run: Run) -> tuple[Model, list[Tensor]]:
    """As `reference_em.random_work`, made on the device: probabilities, and tokens of a Zipf law."""
    sizes, device = run.sizes.expectation, run.device
    generator = torch.Generator(device).manual_seed(8)

    def columns(*shape: int) -> Tensor:
        counts = torch.rand(*shape, device=device, generator=generator).pow_(3).add_(1e-6)
        return counts.div_(counts.sum(0))

    states = sizes.hidden_states
    model = Model(columns(states, states).T.contiguous(), columns(sizes.vocab_size, states), columns(states))
    weights = 1 / torch.arange(1, sizes.vocab_size + 1, device=device, dtype=torch.float32)
    tokens = torch.multinomial(weights, sizes.batch * sizes.length, replacement=True, generator=generator)
    return model, [tokens.view(sizes.batch, sizes.length)]
