"""vLLM's two model runners, as far as logits processors see them: modules of its names, and engines on the host.

They follow vllm 0.32.0: `v1/worker/gpu_input_batch.py` (persistent rows, condensed when requests leave) and
`v1/worker/gpu/` (slots from a free list, rows in a new order in every step, drafted tokens).
"""

from __future__ import annotations

import enum
import random
import sys
from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch


class MoveDirectionality(enum.Enum):
    UNIDIRECTIONAL = enum.auto()
    SWAP = enum.auto()


class BatchUpdate(NamedTuple):
    batch_size: int
    removed: Sequence[int]
    added: Sequence[tuple[int, Any, list[int] | None, list[int]]]
    moved: Sequence[tuple[int, int, MoveDirectionality]]


class LogitsProcessor(ABC):  # noqa: B024
    pass


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the two interfaces where the adapters import them from."""
    first = {"LogitsProcessor": LogitsProcessor, "BatchUpdate": BatchUpdate, "MoveDirectionality": MoveDirectionality}
    second = {"LogitsProcessor": LogitsProcessor, "LogitsContext": object, "LogitsProcRequestState": object}
    put_module(monkeypatch, "vllm.v1.sample.logits_processor", **first)
    put_module(monkeypatch, "vllm.v1.worker.gpu.sample.logits_processor", **second)


def put_module(monkeypatch: pytest.MonkeyPatch, path: str, **names: Any) -> None:
    """A module of this name, and the packages around it."""
    parts = path.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        if name not in sys.modules:
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
    vars(sys.modules[path]).update(names)


def parameters(asked: Any, most: int, **others: Any) -> Any:
    """As SamplingParams."""
    defaults = {"ignore_eos": False, "min_tokens": 0, "stop": [], "structured_outputs": None}
    extra = None if asked is None else {"ctrlg": asked}
    return SimpleNamespace(extra_args=extra, max_tokens=most, **(defaults | others))


@dataclass
class Job:
    """A request in a fake engine."""

    number: int
    parameters: Any
    prompt: list[int]
    output: list[int] = field(default_factory=list)
    steps: int = 0


class FakeEngine:
    """A language model, a processor, and requests that wait until a row is free.

    Args:
        model: of transformers.
        end: the token that ends a text.
        choose: from log-probabilities [V] to a token.
        rows: requests at a time.
        seed: of the order in which things happen.
    """

    def __init__(
        self, model: Any, end: int, choose: Callable[[torch.Tensor], int], rows: int = 4, seed: int = 0
    ) -> None:
        self.model = model
        self.end = end
        self.choose = choose
        self.rows = rows
        self.random = random.Random(seed)

    def logits(self, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Scores of each text's next token, [texts, V]."""
        with torch.no_grad():
            return torch.stack([self.model(torch.tensor([list(text)])).logits[0, -1].float() for text in texts])

    def over(self, job: Job, cancelled: Sequence[int]) -> bool:
        job.steps += 1
        ended = bool(job.output) and (job.output[-1] == self.end or len(job.output) >= job.parameters.max_tokens)
        return ended or (job.number in cancelled and job.steps >= 2)


class FirstRunner(FakeEngine):
    """Persistent rows, whose outputs are lists that the processor keeps; tokens arrive in them a step late."""

    def run(self, processor: Any, jobs: Sequence[Job], cancelled: Sequence[int] = ()) -> list[list[int]]:
        waiting, batch = list(jobs), []
        while waiting or batch:
            gone = [row for row, job in enumerate(batch) if self.over(job, cancelled)]
            added, moved = [], []
            for row in gone:
                batch[row] = None
            # A new request takes the lowest free row, or one at the end.
            while waiting and (None in batch or len(batch) < self.rows):
                job = waiting.pop(0)
                row = batch.index(None) if None in batch else len(batch)
                batch[row : row + 1] = [job]
                added.append((row, job.parameters, job.prompt, job.output))
            removed = [row for row in gone if batch[row] is None]
            while None in batch:  # the last ones fill what is empty
                if batch[-1] is None:
                    batch.pop()
                    continue
                row = batch.index(None)
                batch[row] = batch.pop()
                moved.append((len(batch), row, MoveDirectionality.UNIDIRECTIONAL))
            if len(batch) > 1 and self.random.random() < 0.5:
                one, other = self.random.sample(range(len(batch)), 2)
                batch[one], batch[other] = batch[other], batch[one]
                moved.append((one, other, MoveDirectionality.SWAP))
            changed = removed or added or moved
            processor.update_state(BatchUpdate(len(batch), removed, added, moved) if changed else None)
            if not batch:
                break
            logits = self.logits([job.prompt + job.output for job in batch])
            scores = processor.apply(logits)
            for job, row in zip(batch, scores, strict=True):
                job.output.append(self.choose(row))
        return [job.output for job in jobs]


class _Buffer(NamedTuple):
    gpu: torch.Tensor
    np: Any


def _buffer(*shape: int) -> _Buffer:
    values = torch.zeros(*shape, dtype=torch.int32)
    return _Buffer(values, values.numpy())


class SecondRunner(FakeEngine):
    """Slots that are recycled, rows in any order, and up to two drafted tokens for each."""

    longest = 128

    def states(self) -> Any:
        return SimpleNamespace(
            device=torch.device("cpu"),
            max_num_reqs=self.rows,
            all_token_ids=_buffer(self.rows, self.longest),
            prompt_len=_buffer(self.rows),
            prefill_len=_buffer(self.rows),
            total_len=_buffer(self.rows),
        )

    def run(
        self, processor: Any, states: Any, jobs: Sequence[Job], cancelled: Sequence[int] = (), drafts: bool = False
    ) -> list[list[int]]:
        waiting, slots, free = list(jobs), {}, list(range(self.rows))
        while waiting or slots:
            for slot in [slot for slot, job in slots.items() if self.over(job, cancelled)]:
                del slots[slot]
                free.append(slot)
            while waiting and free:
                slot = free.pop()
                slots[slot] = job = waiting.pop(0)
                states.prompt_len.gpu[slot] = len(job.prompt)
                states.all_token_ids.gpu[slot] = self.random.randrange(50)  # whatever was there before
                processor.add_request(slot, job.parameters)
            if not slots:
                break
            for slot, job in slots.items():
                text = job.prompt + job.output
                states.all_token_ids.gpu[slot, : len(text)] = torch.tensor(text, dtype=torch.int32)
                states.total_len.gpu[slot] = len(text)
            processor.apply_staged_writes()
            order = self.random.sample(sorted(slots), len(slots))
            drafted = {slot: self._draft(slots[slot]) if drafts else [] for slot in order}
            texts, rows = [], []
            for slot in order:
                text = slots[slot].prompt + slots[slot].output
                for offset in range(len(drafted[slot]) + 1):
                    texts.append(text + drafted[slot][:offset])
                    rows.append((slot, offset, texts[-1][-1]))
            context = SimpleNamespace(
                expanded_idx_mapping=torch.tensor([slot for slot, _, _ in rows], dtype=torch.int32),
                idx_mapping_np=torch.tensor(order).numpy(),
                expanded_local_pos=torch.tensor([offset for _, offset, _ in rows], dtype=torch.int32),
                input_ids=torch.tensor([token for _, _, token in rows], dtype=torch.int32),
            )
            scores = processor.apply(self.logits(texts), context)
            row = 0
            for slot in order:
                job, found = slots[slot], []
                for _ in [*drafted[slot], None]:  # accepted as far as it is what would have been chosen
                    if not found or (found == drafted[slot][: len(found)] and found[-1] != self.end):
                        found.append(self.choose(scores[row]))
                    row += 1
                job.output.extend(found)
        return [job.output for job in jobs]

    def _draft(self, job: Job) -> list[int]:
        """Guesses of the language model alone, some of them wrong."""
        guesses: list[int] = []
        for _ in range(self.random.randrange(3)):
            logits = self.logits([job.prompt + job.output + guesses])[0]
            guesses.append(int(logits.topk(2).indices[self.random.randrange(2)]))
        return guesses
