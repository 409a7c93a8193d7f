"""Which share of a step's time goes to operators that memory bounds, not arithmetic? A roofline of both halves.

    python -m studies.tracing.memory_bound --output runs/memory_bound.jsonl
    python -m studies.tracing.memory_bound --hidden_states 4096 --entries 1479 --output runs/memory_bound.jsonl

An operator is memory-bound where it does fewer floating-point operations for a byte it reads or writes than the machine
can do while it moves one: its balance, measured first as the speed of a large float32 product over that of a large
copy (Williams et al. 2009). Flops of products are counted exactly, others as one for each number of their largest
tensor; bytes are those of all tensors an operator takes and gives, once each. The language model is real, HMM and
constraint are synthetic as in `studies.tracing.steps`; an operation of the HMM's matrices counts as one operator, timed
from outside. Each operator's sum is a line of OUTPUT; what is there already is not measured again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.devices import wait_for
from ctrlg.evaluation.synthetic import SyntheticHMM, keywords_and_words, synthetic_hmm
from ctrlg.files.records import markdown_rows
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.matrices import CompressedMatrix, StochasticMatrix, WrappedMatrix
from studies.shared import Key, Line, Measured, Study, StudyFlags, grouped
from studies.tracing.tracing import KEYWORDS, SUFFIX_TOKEN, WARM_UP_STEPS, WORDS

STEPS = 8  # that are measured, after warm-up
WITHOUT_DATA = (torch.ops.aten._unsafe_view,)  # views by another name


class Work(NamedTuple):
    """What one call of an operator did."""

    half: str
    operator: str
    seconds: float
    flops: float
    bytes: float


class Recorder(TorchDispatchMode):
    """Notes every operator of torch, and every operation of an HMM's matrix, while `on`; waits for each on a GPU."""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        super().__init__()
        self._device = device
        self.calls: list[Work] = []
        self.on, self.half = False, "neural"
        self._inside = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        started = time.perf_counter()
        result = func(*args, **kwargs)
        wait_for(self._device)
        seconds = time.perf_counter() - started
        if self.on and not self._inside and not func.is_view and func.overloadpacket not in WITHOUT_DATA:
            operands = [*tensors((args, kwargs)), *tensors(result)]
            flops = flops_of(func.overloadpacket, args, kwargs, result, operands)
            self.calls.append(Work(self.half, str(func.overloadpacket), seconds, flops, moved(operands)))
        return result

    @contextmanager
    def operation(self, name: str, flops: float, operands: Sequence[Tensor], stored: float) -> Iterator[list[Tensor]]:
        """One operation of a matrix that reads `stored` bytes of itself; what is put into the list is written."""
        results: list[Tensor] = []
        outside, self._inside = self._inside, True
        started = time.perf_counter()
        yield results
        wait_for(self._device)
        seconds = time.perf_counter() - started
        self._inside = outside
        if self.on and not outside:
            self.calls.append(Work(self.half, name, seconds, flops, stored + moved([*operands, *results])))


class MeasuredMatrix(WrappedMatrix):
    """A matrix whose operations are noted. A stored entry is multiplied and added: two flops for a row of operands."""

    def __init__(self, matrix: StochasticMatrix, recorder: Recorder, name: str) -> None:
        super().__init__(matrix)
        self._recorder, self._name = recorder, name
        self._entries = matrix.shape[0] * matrix.shape[1]
        if isinstance(matrix, CompressedMatrix):
            self._entries = matrix.codes.numel()

    def to(self, device: torch.device | str) -> MeasuredMatrix:
        return MeasuredMatrix(self._matrix.to(device), self._recorder, self._name)

    def left(self, x: Tensor) -> Tensor:
        return self._noted("left", 2 * len(x), [x], self._matrix.left, x)

    def right(self, y: Tensor) -> Tensor:
        return self._noted("right", 2 * len(y), [y], self._matrix.right, y)

    def columns(self, ids: Tensor) -> Tensor:
        return self._noted("columns", len(ids) / self.shape[1], [], self._matrix.columns, ids, part=len(ids))

    def class_sums(self, class_of: Tensor, num_classes: int) -> Tensor:
        return self._noted("class sums", 1, [class_of], self._matrix.class_sums, class_of, num_classes)

    def scores(self, step: ScoringStep) -> Tensor:
        flops = 4 * len(step.predictive)  # numerator and denominator: twice a product
        return self._noted("scores", flops, list(step), self._matrix.scores, step)

    def add_scores(
        self,
        log_probs: Tensor,
        step: ScoringStep,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        operands = [log_probs, *step]
        return self._noted("scores", 4 * len(step.predictive), operands, self._matrix.add_scores, log_probs, step, out)

    def _noted(
        self,
        operation: str,
        flops_an_entry: float,
        operands: list[Tensor],
        function: Callable[..., Any],
        *args: Any,
        part: int | None = None,
    ) -> Any:
        """part: columns that are read, all where None."""
        stored = self.nbytes * (1 if part is None else part / self.shape[1])
        name = f"{self._name}: {operation}"
        with self._recorder.operation(name, flops_an_entry * self._entries, operands, stored) as results:
            value = function(*args)
            results += tensors(value)
        return value


class Halves(LogitsProcessor):
    """A processor whose calls are the symbolic half; recording begins after the warm-up."""

    def __init__(self, processor: ConstraintLogitsProcessor, recorder: Recorder) -> None:
        self._processor, self._recorder, self._call = processor, recorder, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # type: ignore[override]
        self._recorder.on = WARM_UP_STEPS <= self._call < WARM_UP_STEPS + STEPS
        self._call += 1
        self._recorder.half = "symbolic"
        result = self._processor(input_ids, scores)
        self._recorder.half = "neural"
        return result


class MemoryBound(Study):
    """The operators of a key are lines of their own, which "half" and "operator" tell apart."""

    key = ("base_model", "hidden_states", "kind", "beams", "entries", "threads")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        kinds = ["float", "compressed"]
        flags.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
        flags.add_argument("--beams", type=int, nargs="+", default=[1, 16, 128])
        flags.add_argument("--hidden_states", type=int, nargs="+", default=[1024, 4096])
        flags.share("model", "entries", threads=1)

    def batches(self) -> Iterable[Sequence[Key]]:
        chosen, threads = self.arguments, torch.get_num_threads()
        for states in chosen.hidden_states:
            for kind in chosen.kinds:
                yield [(chosen.model, states, kind, beams, chosen.entries, threads) for beams in chosen.beams]

    @cached_property
    def balance(self) -> float:
        """Of the machine."""
        return machine_balance(self.arguments.device)

    def measure(self, keys: Sequence[Key]) -> Measured:
        balance, (model, _) = self.balance, self.exact_models
        _, states, kind, _, entries, _ = keys[0]
        vocab_size = int(model.get_output_embeddings().weight.shape[0])
        compressed = synthetic_hmm(states, vocab_size, entries, 8).to(self.arguments.device)
        hmm = compressed.dense() if kind == "float" else compressed
        for key in keys:
            for values in summed(recorded(model, hmm, key[3]), balance):
                yield key, values

    def wants(self, line: Line) -> bool:
        return self.asks_for(line)

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each HMM and number of beams: each half's share of operators' time, what of it is memory-bound."""
        rows: list[list[Any]] = [
            [
                *("states", "HMM", "beams", "time in operators, ms a step", "symbolic"),
                *("memory-bound, neural", "memory-bound, symbolic", "memory-bound, whole step"),
                "largest symbolic operator",
            ]
        ]
        for (states, kind, beams), mine in grouped(lines, "hidden_states", "kind", "beams").items():
            halves = {half: [line for line in mine if line["half"] == half] for half in ("neural", "symbolic")}
            total = sum(line["seconds"] for line in mine)
            largest = max(halves["symbolic"], key=lambda line: line["seconds"])
            intensity = largest["flops"] / largest["bytes"]
            rows.append(
                [
                    *(f"{states:,}", kind, beams, f"{1e3 * total / STEPS:.1f}"),
                    f"{sum(line['seconds'] for line in halves['symbolic']) / total:.0%}",
                    *(share(halves["neural"]), share(halves["symbolic"]), share(mine)),
                    f"{largest['operator']}, {intensity:.1f} flop/byte",
                ]
            )
        return f"Machine balance: {lines[0]['balance']:.1f} flop/byte.\n\n{markdown_rows(rows)}"


def recorded(model: Any, hmm: SyntheticHMM, beams: int) -> list[Work]:
    """All calls of STEPS steps of a beam search that keeps a constraint."""
    recorder = Recorder(model.device)
    measured = SyntheticHMM(
        MeasuredMatrix(hmm.transition, recorder, "transition"),
        MeasuredMatrix(hmm.emission, recorder, "emission"),
        hmm.initial,
    )
    tokens, eos = WARM_UP_STEPS + STEPS + 4, hmm.eos_token_id
    constraint = keywords_and_words(hmm.vocab_size, KEYWORDS, WORDS)
    processor = ConstraintLogitsProcessor(measured, constraint, tokens, tokens, [eos], [], [SUFFIX_TOKEN, eos])
    options = {"num_beams": beams, "do_sample": False, "eos_token_id": eos, "pad_token_id": eos}
    prompt = torch.tensor([[eos]], device=model.device)
    for halves in (
        Halves(processor, Recorder(model.device)),
        Halves(processor, recorder),
    ):  # the first compiles the kernels
        with torch.no_grad(), recorder:
            model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                generation_config=GenerationConfig(max_new_tokens=tokens + 2, **options),
                logits_processor=LogitsProcessorList([halves]),
            )
    return recorder.calls


def flops_of(packet: Any, args: Any, kwargs: Any, result: Any, operands: Sequence[Tensor]) -> float:
    """Exact for products and attention, else the numbers of the largest tensor."""
    if "scaled_dot_product" in str(packet):  # the processor's own kernel is not in torch's list
        return sdpa_flop_count(*(tensor.shape for tensor in args[:3]))
    count = flop_registry.get(packet)
    return count(*args, **kwargs, out_val=result) if count else max((t.numel() for t in operands), default=0)


def summed(calls: Sequence[Work], balance: float) -> list[dict[str, Any]]:
    """Calls of each operator together; memory-bound seconds are those of its calls below the balance."""
    groups: dict[tuple[str, str], list[Work]] = {}
    for call in calls:
        groups.setdefault((call.half, call.operator), []).append(call)
    return [
        {
            "half": half,
            "operator": operator,
            "calls": len(group),
            "seconds": sum(call.seconds for call in group),
            "memory_bound_seconds": sum(call.seconds for call in group if call.flops < balance * call.bytes),
            "flops": sum(call.flops for call in group),
            "bytes": sum(call.bytes for call in group),
            "balance": balance,
        }
        for (half, operator), group in groups.items()
    ]


def machine_balance(device: str, size: int = 2048, numbers: int = 1 << 26, repeats: int = 5) -> float:
    """Flops that the device does in a float32 product while it moves one byte in a copy; the best of some tries."""
    left, right = torch.rand(size, size, device=device), torch.rand(size, size, device=device)
    source, target = torch.rand(numbers, device=device), torch.empty(numbers, device=device)
    product = min(seconds_of(lambda: left @ right, device) for _ in range(repeats))
    copy = min(seconds_of(lambda: target.copy_(source), device) for _ in range(repeats))
    return (2 * size**3 / product) / (2 * 4 * numbers / copy)


def seconds_of(work: Callable[[], object], device: str) -> float:
    wait_for(device)
    started = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - started


def tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def moved(operands: Sequence[Tensor]) -> int:
    """Bytes of distinct tensors."""
    return sum({t.data_ptr(): t.numel() * t.element_size() for t in operands}.values())


def share(lines: Sequence[Mapping[str, Any]]) -> str:
    return f"{sum(line['memory_bound_seconds'] for line in lines) / sum(line['seconds'] for line in lines):.0%}"


if __name__ == "__main__":
    MemoryBound.main()
