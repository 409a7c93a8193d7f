"""A tiny HMM and its samples in a folder, and runs of EM over them: in this process, or killed at seeded moments.

    python tests/helpers/training_runs.py FOLDER KILLS SEED

Run as a script it is a process without threads that may be forked: every start of the trainer is a child that costs no
import. It leaves FOLDER/whole (not killed) and FOLDER/killed (killed so many times, then left to finish), and prints at
which step each kill came.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ctrlg.distillation.em.settings import TrainingSettings
from ctrlg.distillation.em.trainer import TrainingResult, train
from ctrlg.distillation.sampling.samples import Samples
from ctrlg.distillation.sampling.storage import write_samples
from ctrlg.hmm import HMM

ROOT = Path(__file__).parents[2]
STATES, VOCABULARY, EOS, CHUNKS = 6, 20, 0, 3


def make_run(folder: Path) -> None:
    """FOLDER/samples/tiny.{dev,train.i} and FOLDER/hmm/checkpoint-0."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    truth = HMM(STATES, VOCABULARY, EOS)
    peaked = torch.log_softmax(3 * torch.randn(STATES, VOCABULARY), 1)
    truth.update_params(torch.softmax(3 * torch.randn(STATES, STATES), 1), peaked, truth.gamma)
    for number, name in enumerate(["dev", *(f"train.{chunk}" for chunk in range(CHUNKS))]):
        sequences = truth.sample(60 + 7 * number, 10, generator)
        sequences[(sequences == EOS).cumsum(1) > 0] = EOS
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        write_samples(folder / "samples" / f"tiny.{name}", Samples(sequences, None))
    HMM(STATES, VOCABULARY, EOS).save_pretrained(folder / "hmm" / "checkpoint-0")


def settings_in(folder: Path, **changes: Any) -> TrainingSettings:
    """Settings of a run in a folder made by make_run."""
    values: dict[str, Any] = {
        "hmm": str(folder / "hmm"),
        "data": str(folder / "samples"),
        "dataset": "tiny",
        "em_schedule": "4,1;2,3",
        "log_file": str(folder / "log.jsonl"),
        "total_chunks": CHUNKS,
        "batch_size": 32,
        "dropout": 0.05,
        "seed": 5,
    }
    return TrainingSettings(**(values | changes))


def quiet_train(settings: TrainingSettings) -> TrainingResult:
    """Train without output."""
    return train(settings, console=Console(quiet=True))


def steps_in_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a log without what the clock says and where the run stands."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for name in ("seconds", "tokens_per_second", "settings"):
            line.pop(name, None)
    return lines


def environment(**values: object) -> dict[str, str]:
    """Of a subprocess that imports this checkout and computes on one thread."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    fixed = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return os.environ | fixed | {name: str(value) for name, value in values.items()}


def _kill_and_compare(folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    for name in ("first", "whole", "killed"):
        make_run(folder / name)
    quiet_train(settings_in(folder / "first"))  # what is imported late is imported before the clock runs
    changes = {
        "em_schedule": "30,1;10,2",
        "save_per_step": 13,
        "quantization_step": 4,
        "bits": 6,
        "quantization_method": "norm-q-max",
    }
    started = time.monotonic()
    _wait(_start(settings_in(folder / "whole", **changes)))
    whole_seconds = time.monotonic() - started
    generator = random.Random(seed)
    done = 0
    while done < kills:
        child = _start(settings_in(folder / "killed", **changes))
        time.sleep(generator.uniform(0.0, 0.4) * whole_seconds)
        os.kill(child, signal.SIGKILL)
        if _wait(child) == 0:  # it had finished: begin anew, so that as many kills as asked for meet a running one
            shutil.rmtree(folder / "killed")
            make_run(folder / "killed")
            done = 0
            continue
        done += 1
        log = folder / "killed" / "log.jsonl"
        print("killed after", log.read_text().count("\n") if log.exists() else 0, "lines of the log")
    if _wait(_start(settings_in(folder / "killed", **changes))) != 0:
        raise SystemExit("the last start failed")


def _start(settings: TrainingSettings) -> int:
    child = os.fork()
    if child:
        return child
    try:
        quiet_train(settings)
        os._exit(0)
    except BaseException as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)


def _wait(child: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code > 0:
        raise SystemExit("a start failed")
    return code


if __name__ == "__main__":
    _kill_and_compare(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
