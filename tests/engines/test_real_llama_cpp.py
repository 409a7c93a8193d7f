"""The suite inside llama.cpp itself, `make test-engines`; it is skipped where llama-cpp-python is not installed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers.engines.conformance import Conformance
from helpers.engines.float_gguf import write_float32
from helpers.engines.worlds import World, instruct_world

from ctrlg import Keywords
from ctrlg.engines.llama_cpp import LlamaCppProcessor
from ctrlg.engines.requests import Guiding, Request
from ctrlg.loading.embedded import base_model_file

llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: make test-engines")

FLOAT32 = 0  # GGML_TYPE_F32, of keys and values


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model in float32: what transformers computes."""
    file = tmp_path_factory.mktemp("gguf") / "float32.gguf"
    write_float32(base_model_file(), file)
    return opened(file, type_k=FLOAT32, type_v=FLOAT32)


@pytest.fixture(scope="module")
def quantized() -> Any:
    """The file as it is fetched, a fifth of the bytes: for many samples."""
    return opened(base_model_file())


def opened(file: Path, **options: Any) -> Any:
    threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    return llama_cpp.Llama(str(file), n_ctx=256, n_threads=threads, n_threads_batch=threads, verbose=False, **options)


@cache
def guiding() -> Guiding:
    return instruct_world().guiding


class TestLlamaCpp(Conformance):
    together = 4
    sampled = 100

    @pytest.fixture
    def world(self, llama: Any, quantized: Any) -> World:
        TestLlamaCpp.llama, TestLlamaCpp.quantized = llama, quantized
        return instruct_world()

    def write(
        self, world: World, requests: Sequence[Request | None], *, greedy: bool, cancelled: Sequence[int] = ()
    ) -> list[list[int]]:
        texts = []
        for number, request in enumerate(requests):
            processors = None if request is None else llama_cpp.LogitsProcessorList([self.processor(request)])
            tokens: list[int] = []
            # `generate` gives token ids, `create_completion` text
            settings: dict[str, Any] = {"temp": 0.0 if greedy else 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
            engine = self.llama if greedy else self.quantized
            engine.reset()
            for token in engine.generate(world.prompt, repeat_penalty=1.0, logits_processor=processors, **settings):
                tokens.append(token)
                if token == world.end or len(tokens) >= 40 or (number in cancelled and len(tokens) == 2):
                    break
            if processors is not None:
                processors[0].check()
            texts.append(tokens)
        return texts

    def processor(self, request: Request) -> LlamaCppProcessor:
        return LlamaCppProcessor(guiding(), request)

    def test_what_cannot_be_kept_ends_and_the_others_go_on(self, world: World) -> None:
        """One text at a time: `test_llama_cpp.py` has its errors."""


def test_completions_keep_their_constraint_streamed_and_whole(llama: Any) -> None:
    request = Request(Keywords([["dog"], ["park"]]), suffix=".", max_new_tokens=24)
    whole = LlamaCppProcessor(guiding(), request).complete(llama, "Tell me about", temperature=0.8, seed=1)
    text = whole["choices"][0]["text"]
    assert request.constraint.holds(text) and text.endswith(".")
    chunks = list(LlamaCppProcessor(guiding(), request).complete(llama, "Tell me about", stream=True, seed=2))
    text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert request.constraint.holds(text) and text.endswith(".") and len(chunks) > 3


def test_what_goes_wrong_inside_comes_out(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = LlamaCppProcessor(guiding(), Request(Keywords([["dog"]]), max_new_tokens=8))
    monkeypatch.setattr(guiding().batch, "join", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        processor.complete(llama, "Tell me about")
