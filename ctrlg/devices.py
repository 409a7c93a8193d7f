"""Where tensors live and in which type they are computed: devices by name, their memory, and torch's modes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from ctrlg.arguments import shown
from ctrlg.errors import ArgumentError

_SLACK = 5  # a fifth more, for what is beside it on the way


def checked_device(name: str | torch.device) -> torch.device:
    """The device of this name: a number that is put there comes back.

    Raises ArgumentError for names that torch does not know, and for devices that this machine has not.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArgumentError(
            f"the device {shown(name)} cannot be used: {reason}", hint="cpu, or cuda where torch finds a GPU"
        ) from error
    return device


def default_device() -> str:
    """ "cuda" where torch finds a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def wait_for(device: str | torch.device) -> None:
    """Wait until a GPU has done all that it was told to do, for those who take the time; the CPU is never behind."""
    place = torch.device(device)
    if place.type == "cuda":
        torch.cuda.synchronize(place)


@contextmanager
def varied_shapes() -> Iterator[None]:
    """Attention without cuDNN inside the block, whose batches change their shape all the time: cuDNN builds a plan for
    every shape, which takes longer than the attention itself."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        yield


def fast_dtype(device: str | torch.device = "cpu") -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, else float32. Raises as `checked_device`."""
    if checked_device(device).type == "cuda":
        return torch.bfloat16
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.bfloat16 if native else torch.float32


@contextmanager
def without_autocast() -> Iterator[None]:
    """Inside, or in a function decorated with it, products keep the type of their factors. Costs nothing where no
    autocast is on."""
    with ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


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
