"""Threads for kernels that run without the GIL: a kernel does one part of its work, and all parts run at once.

They are torch's own where those are OpenMP's: after each operation they spin for milliseconds, waiting for the next,
and threads beside them would have to share the cores with that (`benchmarks/decoding_step.py --own-threads`: on 2 cores
a step of 128 beams takes half as long again). Elsewhere they are threads of this module, which sleep when idle.
(numba's own spin, too, and end the process when two Python threads use them.)
"""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

WORK_OF_A_THREAD = 2**20
"""Multiply-adds (about 0.2 ms) below which waking another thread costs more than it saves."""

_TEAM_BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_LOADING_PROCESS = os.getpid()
_CALLER = threading.local()  # what `stay_in_this_thread` says of each thread


def run(kernel: Callable[..., None], work: int, *arguments: Any) -> None:
    """All parts of `kernel(*arguments, part, parts)`, in as many threads as the work, in multiply-adds, is worth."""
    run_parts(kernel, parts_of(work), *arguments)


def run_parts(kernel: Callable[..., None], parts: int, *arguments: Any) -> None:
    """`kernel(*arguments, part, parts)` for every part; an error of any of them is raised here."""
    if parts == 1:
        kernel(*arguments, 0, 1)
        return
    team = torch_team() if os.getpid() == _LOADING_PROCESS else None  # OpenMP's threads do not survive a fork
    if team is None:
        _run_in_pool(kernel, parts, arguments)
    else:
        _run_in_team(team, kernel, parts, arguments)


def parts_of(work: int) -> int:
    """Threads that so many multiply-adds are worth; at most as many as torch may use."""
    if getattr(_CALLER, "alone", False):
        return 1
    return min(torch.get_num_threads(), 1 + work // WORK_OF_A_THREAD)


def stay_in_this_thread() -> None:
    """Kernels that the calling thread starts from now on have no other threads: it is one of several that do so."""
    _CALLER.alone = True


@cache
def torch_team() -> Callable[..., None] | None:
    """`GOMP_parallel` of the OpenMP library that torch itself was linked with; None where it has none."""
    try:
        # A lookup through torch's library searches what that is linked with before any other OpenMP of the process.
        library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
        team = ctypes.CDLL(str(library), mode=os.RTLD_NOLOAD).GOMP_parallel
    except (OSError, AttributeError):  # another system, or a torch that brings other threads
        return None
    team.argtypes = [_TEAM_BODY, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    team.restype = None
    return team


def _run_in_team(
    team: Callable[..., None], kernel: Callable[..., None], parts: int, arguments: tuple[Any, ...]
) -> None:
    """All parts in a team of the size that torch uses, so that it need not be changed between operations."""
    waiting, errors = itertools.count(), []

    def work(_: Any) -> None:  # in every thread of the team, however many there are
        try:
            # Threads take the next part from one counter (`next` is atomic under the GIL), so it does not matter how
            # many the team has: fewer than parts do several each, more find none left.
            while (part := next(waiting)) < parts:
                kernel(*arguments, part, parts)
        except BaseException as error:  # would be lost on its way through OpenMP
            errors.append(error)

    # 0 threads asked for: OpenMP's own number, which is torch's.
    team(_TEAM_BODY(work), None, 0, 0)
    if errors:
        raise errors[0]


def _run_in_pool(kernel: Callable[..., None], parts: int, arguments: tuple[Any, ...]) -> None:
    """All parts in sleeping threads, the first of them in this thread."""
    others = [_pool(os.getpid()).submit(kernel, *arguments, part, parts) for part in range(1, parts)]
    kernel(*arguments, 0, parts)
    for other in others:
        other.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process; a fork of it needs its own."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="ctrlg-kernels")
