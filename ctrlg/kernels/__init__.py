"""Kernels of the matrix operations: `reference` in torch for any device and dtype, `cpu` in numba."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor


def cpu_kernels(*tensors: Tensor) -> ModuleType | None:
    """The numba kernels where they apply, float32 on the CPU; None where `reference` has to do.

    numba is imported here, at the first call that needs it, and its kernels are compiled once per machine.
    """
    if any(t.device.type != "cpu" or (t.is_floating_point() and t.dtype != torch.float32) for t in tensors):
        return None
    from ctrlg.kernels import cpu

    return cpu
