"""One thread for all tests of this folder, and a folder with a tiny HMM and its samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.training_runs import make_run


@pytest.fixture(autouse=True)
def _one_thread(_threads: None) -> None:
    torch.set_num_threads(1)  # the models are tiny: more threads wait for each other


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_run(tmp_path)
    return tmp_path
