"""vLLM's adapters, inside engines that call them as vLLM does."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.engines import fake_vllm
from helpers.engines.conformance import Conformance
from helpers.engines.fake_vllm import FirstRunner, Job, SecondRunner
from helpers.engines.sampling import choose, jobs, on_wire
from helpers.engines.worlds import World, tiny_world

from ctrlg import Keywords
from ctrlg.engines.requests import Request
from ctrlg.engines.rows import Preparing
from ctrlg.errors import ArgumentError, ConstraintError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is not None, reason="vLLM itself is here: test_real_vllm.py"
)


@pytest.fixture(autouse=True)
def _interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_vllm.install(monkeypatch)
    from ctrlg.engines import settings

    def preparing(config: Any, device: Any) -> Preparing:
        return Preparing(tiny_world().guiding, threads=2)

    for module in ("vllm", "vllm_v2"):
        imported = importlib.import_module(f"ctrlg.engines.{module}")
        monkeypatch.setattr(imported, "vllm_preparing", preparing)
    assert settings.KEY == "ctrlg"


class TestFirstInterface(Conformance):
    @pytest.fixture
    def world(self) -> World:
        return tiny_world()

    def write(
        self, world: World, requests: Sequence[Request | None], *, greedy: bool, cancelled: Sequence[int] = ()
    ) -> list[list[int]]:
        from ctrlg.engines.vllm import ConstraintProcessor

        processor = ConstraintProcessor(None, "cpu", False)
        assert not processor.is_argmax_invariant()
        engine = FirstRunner(world.model, world.end, choose(greedy), seed=len(requests))
        return engine.run(processor, jobs(world, requests), cancelled)


class TestSecondInterface(Conformance):
    drafts = False

    @pytest.fixture
    def world(self) -> World:
        return tiny_world()

    def write(
        self, world: World, requests: Sequence[Request | None], *, greedy: bool, cancelled: Sequence[int] = ()
    ) -> list[list[int]]:
        from ctrlg.engines.vllm_v2 import ConstraintProcessor

        engine = SecondRunner(world.model, world.end, choose(greedy), seed=len(requests))
        states = engine.states()
        processor = ConstraintProcessor(None, states)
        return engine.run(processor, states, jobs(world, requests), cancelled, self.drafts and greedy)


class TestSecondInterfaceWithDrafts(TestSecondInterface):
    drafts = True


@pytest.mark.parametrize(
    "asked, others, error",
    [
        ("{", {}, "JSON"),
        ({"constraint": {"kind": "Keyword"}}, {}, "kind"),
        ({"suffix": "."}, {}, "constraint"),
        ({"constraint": Keywords(["dog"]).to_dict()}, {"ignore_eos": True}, "ignore_eos"),
        ({"constraint": Keywords(["dog"]).to_dict()}, {"stop": ["x"]}, "stop"),
    ],
)
def test_bad_requests_are_refused_at_the_door(asked: Any, others: dict[str, Any], error: str) -> None:
    from ctrlg.engines.vllm import ConstraintProcessor
    from ctrlg.engines.vllm_v2 import ConstraintProcessor as Second

    for processor in (ConstraintProcessor, Second):
        with pytest.raises((ArgumentError, ConstraintError), match=error):
            processor.validate_params(fake_vllm.parameters(asked, 20, **others))
        processor.validate_params(fake_vllm.parameters(None, 20, **others))


def test_a_limit_of_tokens_leaves_room_for_the_suffix() -> None:
    world = tiny_world()
    request = Request(Keywords([["dog"]]), suffix=".", max_new_tokens=64)
    from ctrlg.engines.vllm import ConstraintProcessor

    engine = FirstRunner(world.model, world.end, choose(False))
    job = Job(0, fake_vllm.parameters(on_wire(request), 10), world.prompt)
    (text,) = engine.run(ConstraintProcessor(None, "cpu", False), [job])
    assert len(text) <= 10 and world.keeps(request, text)
    short = Job(0, fake_vllm.parameters(on_wire(request), 2), world.prompt)
    (text,) = engine.run(ConstraintProcessor(None, "cpu", False), [short])
    assert text == [world.end]


def test_settings_name_tokenizer_and_hmm(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from ctrlg.engines import settings

    world = tiny_world()
    world.tokenizer.save_pretrained(tmp_path / "model")
    world.hmm.save_pretrained(tmp_path / "hmm")
    model = SimpleNamespace(tokenizer=None, model=str(tmp_path / "model"))

    def preparing(additional: Any) -> Preparing:
        return settings.vllm_preparing(SimpleNamespace(model_config=model, additional_config=additional), "cpu")

    monkeypatch.delenv("CTRLG_HMM", raising=False)
    assert preparing({}).guiding.hmm is None
    named = preparing({"ctrlg": {"hmm": str(tmp_path / "hmm"), "strength": 2.0}}).guiding
    assert named.hmm is not None and named.batch.strength == 2.0
    monkeypatch.setenv("CTRLG_HMM", str(tmp_path / "hmm"))
    assert preparing(None).guiding.hmm is not None
    with pytest.raises(ArgumentError, match="additional_config"):
        preparing({"ctrlg": {"HMM": "x"}})
