"""The suite inside vLLM itself, `make test-engines`; it is skipped where vLLM is not installed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from helpers.engines.conformance import Conformance
from helpers.engines.sampling import on_wire
from helpers.engines.worlds import World, real_world

from ctrlg import Keywords
from ctrlg.engines.requests import Request

vllm = pytest.importorskip("vllm", reason="vLLM is not installed: make test-engines")

PROCESSOR = "ctrlg.engines.vllm:ConstraintProcessor"


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    from ctrlg.loading.embedded import default_model_path

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"))
        llm = vllm.LLM(
            model=str(default_model_path()),
            dtype="float32",
            max_model_len=256,
            max_num_seqs=4,
            enforce_eager=True,
            logits_processors=[PROCESSOR],
            additional_config={"ctrlg": {"hmm": "default"}},
        )
        yield llm.llm_engine


class TestVllm(Conformance):
    sampled = 100
    numbers = iter(range(10**6))

    @pytest.fixture
    def world(self, engine: Any) -> World:
        TestVllm.engine = engine
        return real_world()

    def write(
        self, world: World, requests: Sequence[Request | None], *, greedy: bool, cancelled: Sequence[int] = ()
    ) -> list[list[int]]:
        names = [f"request-{next(self.numbers)}" for _ in requests]
        for name, request in zip(names, requests, strict=True):
            parameters = vllm.SamplingParams(
                temperature=0.0 if greedy else 1.0,
                max_tokens=20 if request is None else world.limit(request),
                extra_args=None if request is None else {"ctrlg": on_wire(request)},
            )
            self.engine.add_request(name, {"prompt_token_ids": world.prompt}, parameters)
        texts: dict[str, list[int]] = {}
        steps = 0
        while self.engine.has_unfinished_requests():
            for output in self.engine.step():
                texts[output.request_id.split("-")[1]] = list(output.outputs[0].token_ids)
            steps += 1
            if steps == 3:
                self.engine.abort_request([names[number] for number in cancelled])
        return [texts.get(name.split("-")[1], []) for name in names]


def test_a_bad_constraint_is_refused_before_any_work(engine: Any) -> None:
    from vllm.exceptions import VLLMValidationError  # pyright: ignore[reportMissingImports]

    asked = {"constraint": {"kind": "Keyword"}}
    with pytest.raises(VLLMValidationError, match="kind"):
        engine.add_request("bad", {"prompt_token_ids": [0]}, vllm.SamplingParams(extra_args={"ctrlg": asked}))
    twice = {"constraint": Keywords(["dog"]).to_dict()}
    with pytest.raises(VLLMValidationError, match="ignore_eos"):
        parameters = vllm.SamplingParams(ignore_eos=True, extra_args={"ctrlg": twice})
        engine.add_request("worse", {"prompt_token_ids": [0]}, parameters)
