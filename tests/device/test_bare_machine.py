"""On a machine without rich, lemminflect, faiss and the optional extras, all that needs none of them still works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from helpers.training_runs import make_run

ROOT = Path(__file__).parents[2]
MISSING = "rich lemminflect faiss matplotlib gguf spacy datasets evaluate outlines rouge_score pycocoevalcap"
WITHOUT = f"""
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
missing = set({MISSING.split()})
importlib.machinery.PathFinder.find_spec = classmethod(
    lambda cls, name, *others: None if name.partition(".")[0] in missing else find(name, *others)
)
"""
IMPORT_ALL = """
import importlib, pkgutil
import ctrlg, ctrlg.distillation, ctrlg.hmm, ctrlg.quantization, ctrlg.evaluation, normtweaking
for package in (ctrlg.distillation, ctrlg.hmm, ctrlg.quantization, normtweaking):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name != "ctrlg.distillation.em.table":
            importlib.import_module(module.name)
for program in ("train_hmm", "lvd_hmm", "sample_data", "finetune_lm"):
    importlib.import_module(f"distillation.{program}")
"""
TRAIN = """
import sys
from pathlib import Path
from ctrlg.distillation.em.trainer import train
from ctrlg.distillation.em.settings import TrainingSettings
folder = Path(sys.argv[1])
train(
    TrainingSettings(
        hmm=str(folder / "hmm"),
        data=str(folder / "samples"),
        dataset="tiny",
        em_schedule="2,1",
        log_file=str(folder / "log.jsonl"),
        total_chunks=3,
    )
)
from ctrlg.terminal.console import as_program
from ctrlg.devices import checked_device
with as_program():
    checked_device("nowhere")
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WITHOUT + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


def test_what_needs_no_extra_can_be_imported() -> None:
    done = run(IMPORT_ALL)
    assert done.returncode == 0, done.stderr


def test_training_says_what_it_does_in_plain_lines(tmp_path: Path) -> None:
    make_run(tmp_path)
    done = run(TRAIN, str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert "step 2, checkpoint 2: train" in done.stdout
    assert "error: the device 'nowhere' cannot be used" in done.stderr
    assert "hint: cpu, or cuda" in done.stderr
