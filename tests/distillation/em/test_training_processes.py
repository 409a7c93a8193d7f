"""EM on two processes: the parameters of one, and an end that explains itself when one is lost."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.training_runs import ROOT, environment, make_run, quiet_train, settings_in, steps_in_log
from safetensors.torch import load_file

from ctrlg.hmm import HMM

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")


def test_two_processes_give_the_parameters_of_one(folder: Path) -> None:
    schedule = ["--em_schedule", "3,1;2,3"]
    for process in start_two(folder, schedule):
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    two = load_file(folder / "hmm" / "checkpoint-9" / "model.safetensors")
    make_run(folder / "one")
    quiet_train(settings_in(folder / "one", em_schedule="3,1;2,3"))
    one = load_file(folder / "one" / "hmm" / "checkpoint-9" / "model.safetensors")
    torch.testing.assert_close(two["alpha_exp"], one["alpha_exp"], rtol=0, atol=1e-5)
    for name in ("beta", "gamma"):
        torch.testing.assert_close(two[name].exp(), one[name].exp(), rtol=0, atol=1e-5)
    for ours, theirs in zip(steps_in_log(folder / "log.jsonl"), steps_in_log(folder / "one/log.jsonl"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_killed_process_ends_the_job_with_its_name_and_an_intact_checkpoint(folder: Path) -> None:
    first, second = start_two(folder, ["--em_schedule", "100000,1", "--save_per_step", "3", "--timeout", "60"])
    limit = time.monotonic() + 240
    while not (folder / "hmm" / "checkpoint-6").is_dir() and time.monotonic() < limit and first.poll() is None:
        time.sleep(0.05)
    second.send_signal(signal.SIGKILL)
    output, _ = first.communicate(timeout=90)
    second.communicate()
    assert first.returncode == 2, output
    assert re.search(r"error: rank 1 of 2 ended or does not answer", output)
    assert "start the same command again" in output.replace("\n", " ")
    last = max(int(path.name.split("-")[1]) for path in (folder / "hmm").glob("checkpoint-*"))
    assert last >= 6
    HMM.from_pretrained(folder / "hmm" / f"checkpoint-{last}")
    state = json.loads((folder / "hmm" / "resume" / "state.json").read_text())
    HMM.from_pretrained(folder / "hmm" / state["progress"]["parameters"])


JOINED = """
import os, pathlib, torch
from ctrlg.distillation.processes import joined_processes
with joined_processes("cpu") as processes:
    processes.sum(torch.ones(3))
    torch.log_softmax(torch.ones(2, 3, device="meta"), dim=1)  # imports torch._dynamo, if that is not done yet
names = [path.read_text() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
print([name for name in names if "gloo" in name])
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of a process's threads")
def test_no_thread_of_the_group_outlives_it() -> None:
    for process in start_processes([sys.executable, "-c", JOINED]):
        output, _ = process.communicate(timeout=120)
        assert output.strip() == "[]"


def start_two(folder: Path, arguments: list[str]) -> list[subprocess.Popen[str]]:
    """Two processes of the script."""
    settings = settings_in(folder)
    command = [sys.executable, str(ROOT / "distillation" / "train_hmm.py"), "--device", "cpu"]
    for name in ("hmm", "data", "dataset", "log_file", "total_chunks", "batch_size", "dropout", "seed"):
        command += [f"--{name}", str(getattr(settings, name))]
    return start_processes(command + arguments)


def start_processes(command: list[str]) -> list[subprocess.Popen[str]]:
    """Two processes as torchrun would start them, without its own time to start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            command,
            env=environment(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_ADDR="127.0.0.1", MASTER_PORT=port),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
