"""Kernels of the matrix operations: `reference` in torch for any device and dtype, `cpu` in numba, `gpu` in Triton."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection
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


TENSOR_CORE_TYPES = (torch.float32, torch.bfloat16)
"""Types that tensor cores multiply and that hold small probabilities, as float16 does not."""


def gpu_kernels(*tensors: Tensor, dtypes: Collection[torch.dtype] = (torch.float32,)) -> bool:
    """Whether the Triton kernels apply: floats of `dtypes` on a CUDA device, and Triton (the extra `gpu`) is installed.

    Under `TRITON_INTERPRET=1` they apply to the CPU as well: Triton's interpreter runs them there, for tests.
    """
    devices = ("cuda", "cpu") if kernels_interpreted() else ("cuda",)
    if any(t.device.type not in devices or (t.is_floating_point() and t.dtype not in dtypes) for t in tensors):
        return False
    return importlib.util.find_spec("triton") is not None


def kernels_interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, which takes a thousand times as long."""
    return os.environ.get("TRITON_INTERPRET") == "1"
