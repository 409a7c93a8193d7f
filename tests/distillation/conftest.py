"""A folder with a tiny HMM and its samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_runs import make_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.set_num_threads(1)  # so little work is slower on two
    make_run(tmp_path)
    return tmp_path
