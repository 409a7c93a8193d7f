"""What the card can do at best: bytes copied and operations of large products a second; and what card it is."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import sys
from functools import partial
from typing import Any

import torch

from gpu_sections import timing
from gpu_sections.record import Run

COPY = 3.0e12  # bytes a second that the issue states floors at
PRODUCTS = {"bfloat16": 989e12, "tf32": 494e12, "float32": 67e12}  # of an H100 SXM's data sheet, operations a second


def environment(device: str, revision: str) -> dict[str, Any]:
    """Names and versions of everything that a number depends on."""
    packages = ("torch", "triton", "transformers", "numba", "numpy", "pyjuice")
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "revision": revision,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "packages": {name: _version(name) for name in packages},
        "cuda": torch.version.cuda,
        "card": "none",
    }
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
        found |= {
            "card": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "cache_bytes": getattr(properties, "L2_cache_size", None),
            "free_bytes": free,
            "total_bytes": total,
            "driver": _driver(),
        }
    return found


def measure(run: Run) -> None:
    ceilings = run.record.content["environment"].setdefault("ceilings", {})
    device, repeats = run.device, run.sizes.repeats
    source = torch.zeros(run.sizes.copy_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    took = timing.milliseconds(partial(target.copy_, source), device, repeats)
    ceilings["copy"] = 2 * run.sizes.copy_bytes / (1e-3 * took)
    run.add("copy, read and written", ceilings["copy"] / 1e12, "TB/s", milliseconds=took)
    del source, target
    size = run.sizes.product
    for name, dtype, precision in (
        ("bfloat16", torch.bfloat16, "highest"),
        ("tf32", torch.float32, "high"),
        ("float32", torch.float32, "highest"),
    ):
        if run.out_of_time():
            break
        left, right = torch.rand(2, size, size, device=device).to(dtype)
        with timing.float32_products(precision):
            took = timing.milliseconds(partial(torch.matmul, left, right), device, repeats)
        ceilings[name] = 2 * size**3 / (1e-3 * took)
        run.add(f"product {size}^3, {name}", ceilings[name] / 1e12, "TFLOP/s", milliseconds=took)
        del left, right


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    """Of the kernel module's own file, which is there wherever the card is."""
    try:
        with open("/proc/driver/nvidia/version", encoding="utf-8") as file:
            return file.readline().strip()
    except OSError:
        return None
