"""One process or many: the same code under `python script.py` and `torchrun --nproc_per_node N script.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class Processes(NamedTuple):
    """rank of this process among world_size; device: where it computes."""

    rank: int
    world_size: int
    device: torch.device

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor summed over all processes; itself where there is one."""
        if self.world_size > 1:
            moved = tensor.to(self.device)
            dist.all_reduce(moved, op=dist.ReduceOp.SUM)
            return moved.to(tensor.device)
        return tensor

    def wait(self) -> None:
        """Return when every process has come this far."""
        if self.world_size > 1:
            dist.barrier()


@contextmanager
def joined_processes(device: str | None = None) -> Iterator[Processes]:
    """The group torchrun made, or this process alone. device: "cpu", "cuda", ... or None for the best there is."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    place = torch.device(f"cuda:{local_rank}" if kind == "cuda" else kind)
    if world_size > 1:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Processes(int(os.environ.get("RANK", "0")), world_size, place)
    finally:
        if world_size > 1:
            dist.destroy_process_group()
