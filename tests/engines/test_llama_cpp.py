"""llama-cpp-python's adapter, inside an engine that calls it as llama.cpp does."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import pytest
from helpers.engines.conformance import Conformance
from helpers.engines.fake_vllm import put_module
from helpers.engines.fakes import FakeLlama
from helpers.engines.sampling import choose
from helpers.engines.worlds import World, tiny_world

from ctrlg import Keywords, WordCount
from ctrlg.engines.llama_cpp import LlamaCppProcessor
from ctrlg.engines.requests import Guiding, Request
from ctrlg.errors import UnsatisfiableError


@pytest.fixture(autouse=True)
def _interface(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("llama_cpp") is None:
        put_module(monkeypatch, "llama_cpp", LogitsProcessorList=list)


class TestLlamaCpp(Conformance):
    @pytest.fixture
    def world(self) -> World:
        return tiny_world()

    def write(
        self, world: World, requests: Sequence[Request | None], *, greedy: bool, cancelled: Sequence[int] = ()
    ) -> list[list[int]]:
        guiding = world.guiding
        llama = FakeLlama(world.model, world.end, choose(greedy))
        texts = []
        for number, request in enumerate(requests):
            if request is None:
                texts.append(llama.create_completion(world.prompt, logits_processor=[], max_tokens=8))
                continue
            stream = LlamaCppProcessor(guiding, request).complete(llama, world.prompt, stream=True)
            texts.append([next(stream)] if number in cancelled else list(stream))
        return texts

    def test_what_cannot_be_kept_ends_and_the_others_go_on(self, world: World) -> None:
        """One text at a time: the caller hears of it before anything is written."""
        with pytest.raises(UnsatisfiableError):
            LlamaCppProcessor(world.guiding, Request(Keywords([["dog"]]) & WordCount(0, 0), max_new_tokens=8))


@pytest.mark.parametrize("stream", [False, True])
def test_what_goes_wrong_inside_comes_out(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = tiny_world()
    guiding: Guiding = world.guiding
    processor = LlamaCppProcessor(guiding, Request(Keywords([["dog"]]), max_new_tokens=8))

    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(guiding.batch, "join", broken)
    llama = FakeLlama(world.model, world.end, choose(True))
    with pytest.raises(ZeroDivisionError, match="inside"):
        list(processor.complete(llama, world.prompt, stream=stream))
