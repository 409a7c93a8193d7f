"""The house stays in order: imports go down, there are no cycles, and a folder holds at most fifteen files."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_FILES = 15
FOLDERS = ("ctrlg", "normtweaking", "studies", "scripts", "distillation", "eval_metrics", "benchmarks", "tests")


def test_imports_go_down() -> None:
    """The layers are in pyproject.toml, at [tool.importlinter]."""
    pytest.importorskip("importlinter")
    program = (
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_logo=True, no_cache=True))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_folder_is_too_wide_to_look_through() -> None:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    held = Counter(file.parent.relative_to(ROOT) for file in files)
    assert len(held) > 40
    assert not {str(folder): number for folder, number in held.items() if number > MOST_FILES}
