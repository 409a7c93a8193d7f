"""Times of calls: CUDA events and the profiler on a card, the clock on a CPU.

Before every timed call the second-level cache is filled with other memory by reading a buffer larger than it, so what a
call reads comes from memory, as it does in decoding, where a language model's weights pass through between two steps.
Reading leaves nothing that would have to be written back within the timed call.
"""

from __future__ import annotations

import gc
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

WARM_UP = 3
LEAST_REPEATS = 5
PROFILED = 5  # calls that the profiler watches; one where a call is long, as it may be thousands of kernels
LONG = 5.0  # milliseconds
FLUSH_BYTES = 2**28  # five times the second-level cache of an H100
FLUSH_ROWS = 2**14  # summed one by one: a sum of all would begin with a memset that bears no type's name
FLUSH_KERNEL = "complex<double>"  # in the name of the kernel that reads the buffer, and in no other's
SYNCHRONISING = ("cudaStreamSynchronize", "cudaEventSynchronize")  # the profiler itself waits for the whole device


class Profile(NamedTuple):
    """Of one call. kernels: milliseconds that the device worked, copies included. synchronisations: times that the host
    waited for it. copies: how many, by name, as "Memcpy DtoH (Device -> Pageable)"."""

    kernels: float
    synchronisations: float
    copies: dict[str, float]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    """Give memory that no tensor holds back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """How torch multiplies float32 matrices within: "highest" is float32, "high" is TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def clock(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Seconds from a device at rest to a device at rest, and what `work` returned."""
    synchronize(device)
    started = time.perf_counter()
    result = work()
    synchronize(device)
    return time.perf_counter() - started, result


def milliseconds(work: Callable[[], object], device: torch.device, repeats: int, seconds: float = 0.25) -> float:
    """Median of up to `repeats` calls, about `seconds` long, after WARM_UP calls that are not counted."""
    for _ in range(WARM_UP):
        work()
    once, _ = clock(work, device)
    count = max(min(repeats, LEAST_REPEATS), min(repeats, int(seconds / max(once, 1e-6))))
    if device.type != "cuda":
        return 1e3 * statistics.median(clock(work, device)[0] for _ in range(count))
    buffer = _flush_buffer(device)
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]
    for start, end in events:
        buffer.sum(dim=1)
        start.record()
        work()
        end.record()
    synchronize(device)
    return statistics.median(start.elapsed_time(end) for start, end in events)


def profile(work: Callable[[], object], device: torch.device, calls: int = PROFILED) -> Profile | None:
    """What the device did for one call, on average over `calls`; None on a CPU or where the profiler sees nothing."""
    if device.type != "cuda":
        return None
    buffer = _flush_buffer(device)
    synchronize(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            watched = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
            watched.start()
        except (RuntimeError, AssertionError):  # no right to profile on this machine
            return None
        for _ in range(calls):
            buffer.sum(dim=1)
            work()
        synchronize(device)
        watched.stop()
    return _seen(watched.events() or (), calls)


def _seen(events: Iterable[Any], calls: int) -> Profile | None:
    kernels, waits, flushes = 0.0, 0, 0
    copies: dict[str, float] = {}
    for event in events:
        if event.device_type.name != "CUDA":
            waits += event.name in SYNCHRONISING
        elif FLUSH_KERNEL in event.name:
            flushes += 1
        else:
            kernels += event.time_range.elapsed_us()
            if "emcpy" in event.name:
                copies[event.name] = copies.get(event.name, 0.0) + 1 / calls
    if not kernels or not flushes:  # no flush among the names: they cannot be told apart
        return None
    return Profile(1e-3 * kernels / calls, waits / calls, copies)


def synchronisations(work: Callable[[], object], device: torch.device) -> list[str] | None:
    """The places that made the host wait for the device in one call, as torch warns of them; None on a CPU.

    torch knows its own synchronising operations (copies to and from pageable memory, `nonzero`, `item`), not those of
    other libraries.
    """
    if device.type != "cuda":
        return None
    synchronize(device)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    synchronize(device)
    return [f"{w.filename}:{w.lineno}" for w in seen if "called a synchronizing" in str(w.message)]


_BUFFERS: dict[torch.device, Tensor] = {}


def _flush_buffer(device: torch.device) -> Tensor:
    """complex128: the type marks the kernel that reads it."""
    if device not in _BUFFERS:
        _BUFFERS[device] = torch.zeros(
            FLUSH_ROWS, FLUSH_BYTES // 16 // FLUSH_ROWS, dtype=torch.complex128, device=device
        )
    return _BUFFERS[device]
