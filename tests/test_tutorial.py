"""The tutorial runs from top to bottom and keeps what it promises."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

TUTORIAL = Path(__file__).parents[1] / "tutorial_ctrlg.ipynb"


def test_the_tutorial_runs_and_every_promise_in_it_is_kept() -> None:
    notebook = nbformat.read(TUTORIAL, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    printed = "".join(
        output.get("text", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if cell.cell_type == "code"
    )
    assert printed.count("kept: True") >= 3
    assert "kept: False" not in printed
    assert "hint:" in printed, "the promise that cannot be kept is refused"
