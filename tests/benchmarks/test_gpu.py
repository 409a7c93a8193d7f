"""`benchmarks/gpu.py` at toy sizes on a CPU: every section runs, without the packages a card's machine lacks."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gpu.py"

WITHOUT = '''
import os
import sys

class Without:
    """Finds what another finder finds, but for three packages. The first process that looks for END_AT ends."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name == os.environ.get("END_AT") and not os.path.exists(os.environ["ENDED"]):
            open(os.environ["ENDED"], "w").close()
            os._exit(9)
        if name.partition(".")[0] in ("rich", "lemminflect", "gguf"):
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
'''


def run(folder: Path, *arguments: str, **variables: str) -> tuple[str, dict[str, Any]]:
    """What it prints, and the file of results."""
    (folder / "sitecustomize.py").write_text(WITHOUT)
    paths = os.pathsep.join([str(folder), str(BENCHMARK.parents[1])])
    environment = os.environ | {"PYTHONPATH": paths} | variables
    results = folder / "results.json"
    command = [sys.executable, str(BENCHMARK), "--toy", "--device", "cpu", "--json", str(results), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(results.read_text())


def test_every_section_runs(tmp_path: Path) -> None:
    table, results = run(tmp_path)
    assert {name: state["status"] for name, state in results["sections"].items()} == dict.fromkeys(
        ("ceilings", "kernels", "decoding", "share", "width", "em", "tune"), "done"
    )
    assert {row["what"] for row in results["rows"] if row["value"] is None} <= {"EM step pyjuice", "shapes"}
    checks = [row for row in results["rows"] if row["section"] == "kernels"]
    assert len(checks) == 2 * (9 + 7 + 7) + 2
    assert [row["what"] for row in checks if not row["detail"]["correct"]] == []
    assert max(map(len, table.splitlines())) <= 110
    printed = subprocess.run(
        [sys.executable, str(BENCHMARK), "--markdown", str(tmp_path / "results.json")], capture_output=True, text=True
    )
    assert printed.stdout.count("|---|---:|---:|---|---|") == 7


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_shapes_are_tried_in_triton_s_interpreter(tmp_path: Path) -> None:
    _, results = run(tmp_path, "--sections", "tune", TRITON_INTERPRET="1")
    assert results["sections"]["tune"]["status"] == "done"
    ratios = [row for row in results["rows"] if row["what"].endswith("best / own")]
    assert [len(row["detail"]["times"]) for row in ratios] == [2, 2, 2]


def test_a_dead_process_costs_the_measurement_it_died_of(tmp_path: Path) -> None:
    died = "transformers.models.llama.modeling_llama"
    table, results = run(tmp_path, "--sections", "share", END_AT=died, ENDED=str(tmp_path / "ended"))
    assert results["sections"]["share"]["status"] == "done"
    assert [(row["what"], row["value"] is None) for row in results["rows"]] == [("toy B=4", True), ("toy B=1", False)]
    assert "DIED: its process ended with code 9" in table


def test_a_process_that_dies_elsewhere_costs_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    import gpu

    sections = {"share": {"status": "done"}, "em": {"status": "running"}}
    content = {"sections": sections, "rows": [], "tried": {}, "trying": []}
    gpu.bury(content, -11, again=True)
    assert content["rows"] == []
    assert sections["em"] == {"status": "died", "error": "its process ended with code -11"}


def test_wrong_results_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    from gpu_sections.kernels import error_of

    truth = torch.tensor([[1.0, -torch.inf, 2.0]], dtype=torch.float64)
    assert error_of(truth.float(), truth).relative == 0
    for wrong in ([torch.nan, -torch.inf, 2], [1, torch.inf, 2], [1, -torch.inf, -torch.inf], [1, 0, 2]):
        assert error_of(torch.tensor([wrong]), truth).relative == torch.inf
    near = error_of(torch.tensor([[1.0, -torch.inf, 2.25]]), truth)
    assert near.relative == pytest.approx(0.25 / 5**0.5)
    assert near.largest == pytest.approx(0.25)


def test_floors_need_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    from gpu_sections import floors

    line = next(line for line in floors.table() if line.split()[:4] == ["left", "float32", "4096", "1"])
    # 4096^2 and two vectors of 4096 floats at 3 TB/s
    assert float(line.split()[6]) == pytest.approx(4 * (4096**2 + 2 * 4096) / 3.0e12 * 1e6, abs=0.01)
