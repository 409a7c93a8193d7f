"""vLLM's offline engine as `ctrlg.distillation.sampling.in_vllm` calls it, over transformers; follows vllm 0.32.0."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from ctrlg.distillation.sampling.categorical import sampled_tokens


@dataclass
class SamplingParams:
    temperature: float
    top_k: int
    top_p: float
    seed: int
    max_tokens: int
    ignore_eos: bool
    stop_token_ids: list[int]
    detokenize: bool


@dataclass
class Started:
    """What was asked of the engine.

    Attributes:
        options: of each engine.
        requests: all prompts and parameters.
        environment: while engines were started.
        running: engines that have not been shut down.
    """

    options: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[list[int], SamplingParams]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    running: int = 0


def install(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Put the fake where it is imported from."""
    started = Started()

    class LLM:
        def __init__(self, model: str, **options: Any) -> None:
            started.options.append({"model": model, **options})
            started.environment = dict(os.environ)
            started.running += 1
            self._model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, options["dtype"])).eval()
            self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self._shutdown))

        def generate(self, prompts: Sequence[Any], parameters: Sequence[SamplingParams], use_tqdm: bool) -> list[Any]:
            assert not use_tqdm and len(prompts) == len(parameters)
            rows = [prompt["prompt_token_ids"] for prompt in prompts]
            started.requests += zip(rows, parameters, strict=True)
            texts = [self._written(row, each) for row, each in zip(rows, parameters, strict=True)]
            return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(text))]) for text in texts]

        def _written(self, prompt: list[int], asked: SamplingParams) -> list[int]:
            stream = torch.Generator().manual_seed(asked.seed)
            output: list[int] = []
            while len(output) < asked.max_tokens and not set(output[-1:]) & set(asked.stop_token_ids):
                with torch.no_grad():
                    logits = self._model(torch.tensor([prompt + output])).logits[:, -1]
                uniform = torch.rand(1, dtype=torch.float64, generator=stream)
                tail = asked.temperature, asked.top_k, asked.top_p
                output.append(int(sampled_tokens(logits, uniform, *tail)))
            return output

        def _shutdown(self) -> None:
            started.running -= 1

    module = ModuleType("vllm")
    module.__spec__ = ModuleSpec("vllm", None)
    vars(module).update(LLM=LLM, SamplingParams=SamplingParams)
    monkeypatch.setitem(sys.modules, "vllm", module)
    return started
