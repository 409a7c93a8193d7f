"""SGLang's processor, inside an engine that calls it as SGLang does."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.engines.conformance import Conformance
from helpers.engines.fake_vllm import put_module
from helpers.engines.fakes import CustomLogitProcessor, FakeSglang
from helpers.engines.sampling import choose, jobs, on_wire
from helpers.engines.worlds import World, tiny_world

from ctrlg.engines.requests import Request
from ctrlg.engines.rows import Preparing
from ctrlg.errors import ArgumentError


@pytest.fixture(autouse=True)
def adapter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    settings = SimpleNamespace(disable_overlap_schedule=True, tokenizer_path="tiny", model_path="tiny")
    put_module(monkeypatch, "sglang.srt.sampling.custom_logit_processor", CustomLogitProcessor=CustomLogitProcessor)
    put_module(monkeypatch, "sglang.srt.server_args", get_global_server_args=lambda: settings)
    module = importlib.import_module("ctrlg.engines.sglang")
    monkeypatch.setattr(module, "preparing_of", lambda name, device: Preparing(tiny_world().guiding, threads=2))
    monkeypatch.setattr(module, "get_global_server_args", lambda: settings)
    module._PREPARING.clear()
    yield SimpleNamespace(module=module, settings=settings)
    del sys.modules["ctrlg.engines.sglang"]  # its class belongs to the fake


class TestSglang(Conformance):
    @pytest.fixture
    def world(self) -> World:
        return tiny_world()

    def write(
        self, world: World, requests: Sequence[Request | None], *, greedy: bool, cancelled: Sequence[int] = ()
    ) -> list[list[int]]:
        from ctrlg.engines.sglang import ConstraintProcessor

        engine = FakeSglang(world.model, world.end, choose(greedy), seed=len(requests))
        asked = [None if request is None else {"ctrlg": on_wire(request)} for request in requests]
        return engine.run(ConstraintProcessor, jobs(world, requests), asked, cancelled)


def test_requests_that_are_gone_are_forgotten(adapter: Any) -> None:
    world = tiny_world()
    TestSglang().write(world, world.requests(3), greedy=False)
    gc.collect()
    assert not adapter.module._ROWS


def test_overlapping_steps_are_refused(adapter: Any) -> None:
    adapter.settings.disable_overlap_schedule = False
    with pytest.raises(ArgumentError, match="overlap"):
        TestSglang().write(tiny_world(), tiny_world().requests(1), greedy=True)
