"""The fixtures of all tests of this folder: `device`, and a stand-in for the kernels that a GPU has."""

from __future__ import annotations

from contextlib import suppress

import pytest
from helpers.pretend_device import device_fixture, register

from ctrlg.matrices import DenseMatrix, StochasticMatrix

__all__ = ["device_fixture"]

# While tests are collected: torch's autograd counts the devices at its first backward pass, whichever test that is in.
with suppress(pytest.skip.Exception):
    register()


@pytest.fixture
def float_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding with float HMMs stays on the device, as with Triton; scores are computed by their definition."""
    monkeypatch.setattr(DenseMatrix, "pairs_in_one_pass", True)
    monkeypatch.setattr(DenseMatrix, "add_paired_scores", StochasticMatrix.add_paired_scores)
