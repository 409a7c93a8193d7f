"""One process or many: the same code under `python script.py` and `torchrun --nproc_per_node N script.py`.

A process that dies must not leave the others waiting: every exchange has a time limit, and when one fails the
survivors call the roll in the group's store, so that the error names who did not answer.
"""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ctrlg.devices import checked_device, default_device
from ctrlg.errors import ArgumentError, ProcessError

TIMEOUT_SECONDS = 1800.0  # torch's own default for gloo
ROLL_CALL_SECONDS = 3.0  # survivors have so long to answer, well within the 30 s torchrun grants before it kills


class Processes(NamedTuple):
    """This process among those of a job.

    Attributes:
        rank: of this process, from 0.
        world_size: how many processes there are.
        device: where this one computes.
        store: of the group, where there is one.
    """

    rank: int
    world_size: int
    device: torch.device
    store: Store | None = None

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor summed over all processes (its memory is used); itself where there is one.

        Args:
            tensor: of this process; its memory is used.

        Raises:
            ProcessError: another process is gone or does not answer in time.
        """
        if self.world_size == 1:
            return tensor
        moved = tensor.contiguous().to(self.device)
        try:
            dist.all_reduce(moved, op=dist.ReduceOp.SUM)
        except RuntimeError as error:
            raise _lost(self, error) from error
        return moved.to(tensor.device)

    def wait(self) -> None:
        """Return when every process has come this far.

        Raises:
            ProcessError: as `sum`.
        """
        self.sum(torch.zeros(1, dtype=torch.float32))


ONE_PROCESS = Processes(0, 1, torch.device("cpu"))


@contextmanager
def joined_processes(device: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[Processes]:
    """The group torchrun made, or this process alone.

    Args:
        device: "cpu" (gloo), "cuda" (nccl), ... or None for the best there is.
        timeout_seconds: > 0; an exchange that takes longer, because a process hangs, ends the job.

    Raises:
        ArgumentError: a device that is not there, or a time limit out of range.
        ProcessError: in the block, where another process is lost or the job is told to stop.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    kind = device or default_device()
    place = checked_device(f"cuda:{local_rank}" if kind == "cuda" else kind)
    if not timeout_seconds > 0:
        raise ArgumentError(f"timeout is {timeout_seconds} seconds", hint="a positive number of seconds")
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Processes(0, 1, place)
        return
    limit = timedelta(seconds=timeout_seconds)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    # Imported while there is a group, as some operations of torch do, it would keep the group's threads beyond the end:
    # one of them may then let go of its last tensor while Python shuts down, which aborts the process.
    importlib.import_module("torch._dynamo")
    store, rank, world_size = next(rendezvous("env://", timeout=limit))
    dist.init_process_group(
        "nccl" if place.type == "cuda" else "gloo",
        store=PrefixStore("group", store),
        rank=rank,
        world_size=world_size,
        timeout=limit,
    )
    processes = Processes(rank, world_size, place, PrefixStore("roll", store))
    with _told_to_stop(processes):
        yield processes
    dist.destroy_process_group()


@contextmanager
def _told_to_stop(processes: Processes) -> Iterator[None]:
    """SIGTERM, which torchrun sends to the survivors of a failed rank, becomes a ProcessError that names the rank."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough: the roll call may not be interrupted
        raise _lost(processes, RuntimeError("told to stop"))

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _lost(processes: Processes, error: RuntimeError) -> ProcessError:
    """The error that says which ranks do not answer."""
    missing = _roll_call(processes)
    names = ", ".join(f"rank {rank}" for rank in missing) or "another process"
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ProcessError(
        f"{names} of {processes.world_size} ended or does not answer (noticed by rank {processes.rank}: {reason})",
        hint="see its output, or the system's log for out-of-memory kills; what was saved is intact: start the same "
        "command again to go on from there",
    )


def _roll_call(processes: Processes) -> list[int]:
    """Ranks that do not answer in time."""
    if processes.store is None:
        return []
    missing = [0]  # keeps the store, unless torchrun does: where it cannot be reached, that process is gone
    limit = time.monotonic() + ROLL_CALL_SECONDS
    try:
        processes.store.set(f"answered/{processes.rank}", "yes")
        missing = list(range(processes.world_size))
        while missing and time.monotonic() < limit:
            missing = [rank for rank in missing if not processes.store.check([f"answered/{rank}"])]
            time.sleep(0.05)
    except RuntimeError:
        return missing
    return missing
