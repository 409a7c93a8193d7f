"""Norm-Q's commands and imports run here as its README and benchmark.sh have them, on tiny models.

Only names of models differ: the language model is given by --base_model. Everything runs in a copy of `scripts/`, from
inside it as benchmark.sh does, or from its parent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.hmm import HMM

ROOT = Path(__file__).parents[1]
CHECKPOINT = "distillation/workspace/models/hmm_gpt2-large_4096/checkpoint-q4s100"
OUTPUT = "result/qat4_s100.json"
CONCEPTS = {0: ["dog", "park"], 7: ["run"]}
REFERENCES = {0: ["A dog is in the park.", "The dogs play in a park."], 7: ["He runs.", "They ran home."]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the scripts, with Norm-Q's data set, the checkpoint of benchmark.sh and a tiny language model."""
    folder = tmp_path_factory.mktemp("norm_q")
    scripts = folder / "scripts"
    scripts.mkdir()
    for name in ("test.py", "test_acc.py", "test_benchmark.py", "test_kmeans.py"):
        shutil.copy(ROOT / "scripts" / name, scripts)
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    tiny_language_model(len(tokenizer), eos_token_id=eos).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(1)
    HMM(4, len(tokenizer), eos).save_pretrained(scripts / CHECKPOINT)
    rows = [
        {"concept_set_idx": number, "concepts": concepts, "target": target}
        for number, concepts in CONCEPTS.items()
        for target in REFERENCES[number]
    ]
    (scripts / "data").mkdir()
    (scripts / "data" / "common-gen_validation.json").write_text(json.dumps(rows, indent=1))
    return folder


def run(folder: Path, *command: str, inside: str = "scripts") -> str:
    """What a command prints, without a network."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder / inside, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def results(folder: Path) -> list[dict[str, Any]]:
    """What the user of the line in benchmark.sh loads afterwards."""
    assert "data/common-gen_validation.json" in benchmark(folder)
    return json.loads((folder / "scripts" / OUTPUT).read_text())


def benchmark(folder: Path, *more: str) -> str:
    """The line in benchmark.sh."""
    command = ("test_benchmark.py", "--hmm_model_path", CHECKPOINT, "--output_path", OUTPUT)
    return run(folder, *command, "--base_model", "../model", "--beams", "4", *more)


def test_benchmark_sh_writes_norm_qs_list(results: list[dict[str, Any]]) -> None:
    assert [(each["concept_set_idx"], each["concepts"]) for each in results] == list(CONCEPTS.items())
    for each in results:
        assert 1 < len(each["sentences"]) == len(set(each["sentences"])) <= 4  # all ranked sentences
        assert all(text == text.strip() for text in each["sentences"])


def test_test_acc_scores_it_and_norm_qs_own(folder: Path, results: list[dict[str, Any]]) -> None:
    broken = [{"concept_set_idx": 0, "concepts": CONCEPTS[0], "sentences": ["A dog.", "Dogs in a park."]}]
    broken.append({"concept_set_idx": 7, "concepts": CONCEPTS[7], "sentences": ["He runs."]})
    (folder / "scripts" / "result" / "output.json").write_text(json.dumps(broken, indent=2))
    shown = run(folder, "test_acc.py", "--result", OUTPUT, "result/output.json", "--log", "1")
    assert f"| float32 | 32 | hard | {len(results)} | 2 | 1.000 (1.000 to 1.000) |" in shown
    assert "constraints accuracy | Bleu_1 | Bleu_2 | Bleu_3 | Bleu_4 | average of Bleu_1 to 4 |" in shown
    assert "average rougeL F score" in shown
    assert "| output |  |  | 0.500 |" in shown
    assert "concept set 0 lacks park: A dog." in shown


def test_another_method_is_added_to_the_list(folder: Path, results: list[dict[str, Any]]) -> None:
    benchmark(folder, "--cluster", "16")
    now = json.loads((folder / "scripts" / OUTPUT).read_text())
    assert now[: len(results)] == results
    assert [each["method"] for each in now] == ["float32"] * 2 + ["norm-q-max"] * 2


def test_scores_without_flags(folder: Path) -> None:
    """The defaults of test_acc.py, from the root: what test_benchmark.py writes, and the sets of this package."""
    packaged = json.loads((ROOT / "ctrlg/assets/commongen/validation.jsonl").read_text().splitlines()[0])
    line = {"method": "float32", "bits": 32, "mask": "hard", "seed": 0, "sentences": packaged["references"][:2]}
    (folder / "runs").mkdir()
    (folder / "runs" / "benchmark.jsonl").write_text(json.dumps(packaged | line))
    shown = run(folder, "scripts/test_acc.py", inside=".")
    assert "the 100 of this package" in shown and "| float32 | 32 | hard | 1 |" in shown


def test_kmeans_and_the_tensors_that_the_notebook_loads(folder: Path) -> None:
    run(folder, "test_kmeans.py", "--hmm_model_path", CHECKPOINT, "--save_tensors", "data", "--sequences", "5")
    b = 6
    for name in ("alpha_exp", "beta", "gamma"):
        values, labels, centroids = (
            torch.load(folder / "scripts" / "data" / f"{name}{b}{what}.pt", weights_only=True)
            for what in ("", "labels", "centroids")
        )
        assert centroids.shape == (2**b, 1)
        assert torch.equal(centroids[labels].reshape(values.shape), values)
        assert (values <= 0).all() if name != "alpha_exp" else (values >= 0).all()


def test_generation_with_a_quantised_hmm(folder: Path) -> None:
    shown = run(
        folder,
        *("test.py", "--qbit", "8", "--hmm_model_path", CHECKPOINT, "--base_model", "../model", "--beams", "2"),
        *("--keywords", "dog", "--words", "1", "4"),
    )
    assert shown.startswith("0. ") and "dog" in shown


def test_imports_of_its_evaluation(folder: Path) -> None:
    program = (
        "from eval_metrics.bleu import Bleu\nfrom eval_metrics.cider import Cider\n"
        "from eval_metrics.spice import Spice\n"
        "gts = {'dog#run': ['a dog runs .'], 'park': ['in the park .']}\n"
        "res = {'dog#run': ['a dog runs .'], 'park': ['the park .']}\n"
        "for scorer in (Bleu(4), Cider()):\n"
        "    score, scores = scorer.compute_score(gts, res)\n"
        "    print('computing %s score...' % scorer.method(), score)"
    )
    shown = run(folder, "-c", program)
    assert "Bleu score" in shown and "CIDEr score" in shown
