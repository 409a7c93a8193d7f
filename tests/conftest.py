"""Set-up shared by all tests: two threads, no network, and folders of test helpers importable by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

if importlib.util.find_spec("triton") is not None:
    # Triton decides at its first import whether its interpreter runs the functions that kernels call, and others import
    # it without asking for kernels.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        importlib.import_module("triton")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; tests that need it skip where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no data sets in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def default_model() -> tuple[Any, Any]:
    """The embedded language model and its tokenizer, float32; fetched once."""
    from ctrlg import assets

    return assets.default_model()


@pytest.fixture(scope="session")
def default_hmm() -> Any:
    """The embedded compressed HMM."""
    from ctrlg.loading import load_hmm

    return load_hmm("default")
