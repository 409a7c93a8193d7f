"""Threads for kernels that run without the GIL: a kernel does one part of its work, and all parts run at once.

The threads sleep when idle. (Those of OpenMP, torch's and numba's, spin for a while after each task and take the cores
away from each other; numba's other threads end the process when two Python threads use them.)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch

WORK_OF_A_THREAD = 2**20
"""Multiply-adds (about 0.2 ms) below which waking another thread costs more than it saves."""


def run(kernel: Callable[..., None], work: int, *arguments: Any) -> None:
    """All parts of `kernel(*arguments, part, parts)`, in as many threads as the work, in multiply-adds, is worth."""
    run_parts(kernel, parts_of(work), *arguments)


def run_parts(kernel: Callable[..., None], parts: int, *arguments: Any) -> None:
    """`kernel(*arguments, part, parts)` for every part, the first of them in this thread."""
    others = [_pool(os.getpid()).submit(kernel, *arguments, part, parts) for part in range(1, parts)]
    kernel(*arguments, 0, parts)
    for other in others:
        other.result()


def parts_of(work: int) -> int:
    """Threads that so many multiply-adds are worth; at most as many as torch may use."""
    return min(torch.get_num_threads(), 1 + work // WORK_OF_A_THREAD)


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process; a fork of it needs its own."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="ctrlg-kernels")
