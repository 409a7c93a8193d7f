"""The tutorials run from top to bottom and keep what they constraint."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def printed_by(notebook_file: Path) -> str:
    notebook = nbformat.read(notebook_file, as_version=4)
    resources = {"metadata": {"path": str(notebook_file.parent)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.mark.parametrize(
    "name", ["tutorial_ctrlg.ipynb", "tutorial_constraints.ipynb", "distillation/tutorial_distillation.ipynb"]
)
def test_tutorials_are_committed_with_their_outputs(name: str) -> None:
    notebook = nbformat.read(ROOT / name, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert sum(bool(cell.outputs) for cell in cells) >= 5


def test_the_tutorial_runs_and_every_constraint_in_it_is_kept() -> None:
    printed = printed_by(ROOT / "tutorial_ctrlg.ipynb")
    assert printed.count("kept: True") >= 3
    assert "kept: False" not in printed
    assert "hint:" in printed, "the constraint that cannot be kept is refused"


def test_the_tutorial_of_constraints_keeps_all_of_them() -> None:
    printed = printed_by(ROOT / "tutorial_constraints.ipynb")
    assert printed.count("kept: True") == 6
    assert "kept: False" not in printed
    assert "back-reference at position 10" in printed and "#/items/unevaluatedProperties" in printed


def test_the_distillation_tutorial_makes_an_hmm_that_guides() -> None:
    printed = printed_by(ROOT / "distillation" / "tutorial_distillation.ipynb")
    assert printed.count("kept: True") == 3
    assert "nats per held-out token" in printed
