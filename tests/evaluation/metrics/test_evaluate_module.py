"""The module of `evaluate` loads without a network and gives what the library gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ctrlg.evaluation.metrics.scores import evaluate
from ctrlg.evaluation.results import Written

ROOT = Path(__file__).parents[3]
PREDICTIONS = ["A dog runs.", "Snow falls on a café.", "", "Dogs run."]
REFERENCES = [["The dog is running."], ["Snow is falling.", "It snows."], ["A man."], ["The dog is running."]]
CONCEPTS = [["dog", "run"], ["snow", "fall"], ["man"], ["dog", "run"]]
PROGRAM = """
import json, sys, evaluate
metric = evaluate.load("eval_metrics/commongen")
print("scores", json.dumps(metric.compute(resamples=50, **json.loads(sys.argv[1]))))
"""


def test_it_loads_offline_and_agrees_with_the_library(tmp_path: Path) -> None:
    pytest.importorskip("evaluate", reason="evaluate is not installed")
    given = json.dumps({"predictions": PREDICTIONS, "references": REFERENCES, "concepts": CONCEPTS})
    environment = os.environ | {
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, given], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.split("scores", 1)[1])
    numbers = (0, 1, 2, 0)  # the first and the last are of one concept set
    written = [Written(n, tuple(c), (p,)) for n, c, p in zip(numbers, CONCEPTS, PREDICTIONS, strict=True)]
    expected = evaluate(written, dict(zip(numbers, REFERENCES, strict=True)), resamples=50)
    assert {name: found[name] for name in expected} == pytest.approx({n: score.value for n, score in expected.items()})
    assert {name: found[f"{name}_low"] for name in expected} == pytest.approx({n: s.low for n, s in expected.items()})
    assert len(found) == 3 * len(expected)
