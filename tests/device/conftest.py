"""The fixtures of all tests of this folder: `device`, and a stand-in for the kernels that a GPU has."""

from __future__ import annotations

import pytest
from helpers.pretend_device import device_fixture

from ctrlg.matrices import DenseMatrix, StochasticMatrix

__all__ = ["device_fixture"]


@pytest.fixture
def float_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding with float HMMs stays on the device, as with Triton; scores are computed by their definition."""
    monkeypatch.setattr(DenseMatrix, "pairs_in_one_pass", True)
    monkeypatch.setattr(DenseMatrix, "add_paired_scores", StochasticMatrix.add_paired_scores)
