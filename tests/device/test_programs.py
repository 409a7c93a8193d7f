"""What programs and helpers do about a device, without one: refusals, waiting, memory, and where k-means runs."""

from __future__ import annotations

import argparse
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.pretend_device import NAME

from ctrlg.devices import free_memory, lacking_memory, wait_for
from ctrlg.distillation.first_hmm import torch_k_means
from ctrlg.errors import ArgumentError
from ctrlg.terminal.flags import PlainArgumentParser, add_device_flag
from ctrlg.terminal.program import Program

ROOT = Path(__file__).parents[2]
WITHOUT = {  # programs that compute nothing, or measure the CPU itself
    "scripts": {"test_acc.py", "test_trace.py"},  # the latter is a study
    "benchmarks": {"busy_neighbour.py", "em_memory.py", "outlines_index.py", "reference_em.py", "reference_step.py"},
}


@pytest.mark.parametrize("folder", WITHOUT)
def test_every_program_that_computes_takes_a_device(folder: str) -> None:
    programs = {path for path in (ROOT / folder).glob("*.py") if path.name not in WITHOUT[folder]}
    flag = re.compile(r'add_device(_flag)?\(|"--device"|PROGRAM = ')
    assert {path.name for path in programs if not flag.search(path.read_text())} == set()


@pytest.mark.parametrize("folder", ["scripts", "distillation", "examples"])
def test_every_program_made_of_a_function_takes_a_device(folder: str) -> None:
    for path in (ROOT / folder).glob("*.py"):
        if "PROGRAM = " in path.read_text() and path.name not in WITHOUT["scripts"]:
            program = runpy.run_path(str(path))["PROGRAM"]
            assert "device" in {option.name for option in program.options()}, path


def test_a_program_refuses_a_device_that_is_not_there_before_it_runs(device: torch.device) -> None:
    used: list[str] = []

    def run(device: str = "cpu") -> None:
        used.append(device)

    program = Program(run, "run.py")
    program(["--device", NAME])
    with pytest.raises(ArgumentError, match="the device 'nowhere' cannot be used"):
        program(["--device", "nowhere"])
    assert used == [NAME]


def test_a_device_that_is_not_there_is_refused_when_it_is_read(device: torch.device) -> None:
    parser = argparse.ArgumentParser()
    add_device_flag(parser)
    assert parser.parse_args([]).device == "cpu"
    assert parser.parse_args(["--device", NAME]).device == NAME
    own = PlainArgumentParser(None)
    own.add_device()
    with pytest.raises(ArgumentError, match="the device 'nowhere' cannot be used") as refused:
        own.parse_args(["--device", "nowhere"])
    assert refused.value.hint


def test_a_gpu_is_waited_for(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    for place in ("cpu", device, "cuda:0"):
        wait_for(place)
    assert waited == [torch.device("cuda:0")]


def test_memory_that_torch_keeps_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("mem_get_info", (10, 100)), ("memory_reserved", 60), ("memory_allocated", 25)):
        monkeypatch.setattr(torch.cuda, name, lambda place, value=value: value)
    assert free_memory("cuda") == 45
    assert lacking_memory(38, "cuda") is None
    assert lacking_memory(39, "cuda") is not None


@pytest.mark.parametrize(
    ("faiss", "place", "torch_does"),
    [
        (None, "cpu", True),
        (None, "cuda", True),
        (SimpleNamespace(get_num_gpus=lambda: 0), "cpu", False),  # faiss-cpu
        (SimpleNamespace(get_num_gpus=lambda: 0), "cuda", True),
        (SimpleNamespace(StandardGpuResources=object, get_num_gpus=lambda: 0), "cuda", True),
        (SimpleNamespace(StandardGpuResources=object, get_num_gpus=lambda: 1), "cuda:0", False),
        (SimpleNamespace(StandardGpuResources=object, get_num_gpus=lambda: 1), "meta", True),
    ],
)
def test_torch_replaces_a_faiss_that_cannot_use_the_device(
    monkeypatch: pytest.MonkeyPatch, faiss: Any, place: str, torch_does: bool
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", faiss)
    monkeypatch.setattr(torch_k_means.importlib.util, "find_spec", lambda name: faiss)
    assert torch_k_means.replaces_faiss(torch.device(place)) is torch_does
