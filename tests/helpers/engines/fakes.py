"""llama-cpp-python and SGLang, as far as their adapters see them, on the host.

`FakeLlama` follows llama_cpp 0.3.36: prompt and output in one array, scores as numpy, and exceptions of a processor are
printed and forgotten. The SGLang of this module follows `sglang/srt/sampling/`: processors are merged by their text,
made anew for every batch, and called with the rows that name them.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from helpers.engines.fake_vllm import FakeEngine, Job


class FakeLlama:
    """Completes token ids; the answer holds token ids where llama.cpp's holds text."""

    def __init__(self, model: Any, end: int, choose: Callable[[torch.Tensor], int]) -> None:
        self._engine = FakeEngine(model, end, choose)

    def create_completion(
        self, prompt: list[int], *, logits_processor: Any, max_tokens: int, stream: bool = False
    ) -> Any:
        tokens = self._tokens(list(prompt), logits_processor, max_tokens)
        return tokens if stream else list(tokens)

    def _tokens(self, prompt: list[int], processors: Any, max_tokens: int) -> Iterator[int]:
        engine, output = self._engine, []
        while len(output) < max_tokens:
            scores = engine.logits([prompt + output])[0].numpy()
            for processor in processors:
                scores = _swallowing(processor, np.array(prompt + output, dtype=np.intc), scores)
            token = engine.choose(torch.from_numpy(scores))
            output.append(token)
            yield token
            if token == engine.end:
                return


def _swallowing(processor: Any, tokens: Any, scores: Any) -> Any:
    """As ctypes does with a callback."""
    try:
        return processor(tokens, scores)
    except Exception:
        traceback.print_exc()
        return scores


class CustomLogitProcessor:
    @classmethod
    def to_str(cls) -> str:
        return f"{cls.__module__}:{cls.__name__}"


class Request:
    """SGLang's own `Req`."""

    def __init__(self, job: Job, custom_params: Any) -> None:
        self.job = job
        self.output_ids = job.output
        self.sampling_params = SimpleNamespace(max_new_tokens=job.parameters.max_tokens, custom_params=custom_params)
        if custom_params is not None:
            custom_params["__req__"] = self


class FakeSglang(FakeEngine):
    """Requests come and go in any order; one is put back now and then and starts again with another list of tokens."""

    def run(
        self, processor: type[Any], jobs: Sequence[Job], asked: Sequence[Any], cancelled: Sequence[int] = ()
    ) -> list[list[int]]:
        waiting = [Request(job, params) for job, params in zip(jobs, asked, strict=True)]
        batch: list[Request] = []
        while waiting or batch:
            batch = [request for request in batch if not self.over(request.job, cancelled)]
            while waiting and len(batch) < self.rows:
                batch.append(waiting.pop(0))
            if not batch:
                break
            self.random.shuffle(batch)
            again = self.random.choice(batch)
            again.output_ids = again.job.output = list(again.job.output)
            logits = self.logits([request.job.prompt + request.job.output for request in batch])
            mask = torch.tensor([request.sampling_params.custom_params is not None for request in batch])
            if mask.any():
                params = [r.sampling_params.custom_params for r in batch if r.sampling_params.custom_params is not None]
                logits[mask] = processor()(logits[mask], params)
            for request, row in zip(batch, logits, strict=True):
                request.output_ids.append(self.choose(row))
        return [job.output for job in jobs]
