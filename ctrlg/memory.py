"""Whether something large fits into memory, asked before it is made."""

from __future__ import annotations

from pathlib import Path

import torch

_SLACK = 5  # a fifth more, for what is beside it on the way


def lacking_memory(nbytes: int, device: torch.device | str = "cpu") -> str | None:
    """Why `nbytes` do not fit on a device, as "it takes ..., there is ..."; None where they do or nobody knows."""
    free = free_memory(device)
    needed = nbytes + nbytes // _SLACK
    if free is None or needed <= free:
        return None
    return f"they take {_gigabytes(needed)} GB with what is beside them, {_gigabytes(free)} GB are free"


def free_memory(device: torch.device | str = "cpu") -> int | None:
    """Bytes that may still be taken on a device; None where the system does not say (it does on Linux, and a GPU)."""
    place = torch.device(device)
    if place.type == "cuda":
        # What torch keeps for later tensors is not free to the driver, and is to us.
        kept = torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
        return int(torch.cuda.mem_get_info(place)[0]) + kept
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return 1024 * int(amount.split()[0])
    return None


def _gigabytes(nbytes: int) -> str:
    """Whole numbers throughout: what is asked for may be more than a float can say."""
    return f"{nbytes // 10**9:,}.{nbytes % 10**9 // 10**8}"
