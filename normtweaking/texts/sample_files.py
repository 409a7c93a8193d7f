"""Files of calibration texts: a safetensors file with a tensor for each text, `sample_0`, `sample_1`, ...

The names are those of the norm-tweaking repository, so its files and ours are read by both. Texts may have different
lengths. Files with one tensor `sequences` [n, length], as Ctrl-G's are, can be read too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ctrlg.distillation.sampling.storage import DESCRIPTION, read_sequences
from ctrlg.errors import DataError
from ctrlg.files.tensors import write_tensors

SAMPLE = re.compile(r"sample_(\d+)")


def write_rows(path: str | Path, rows: Sequence[Tensor], description: Mapping[str, Any]) -> None:
    """Write texts, int64 [length] each, atomically.

    Args:
        path: of the file.
        rows: int64 [length] each.
        description: for `storage.read_description` of the samples.
    """
    # A tensor of its own for each row: safetensors refuses views of one storage.
    tensors = {f"sample_{index}": row.long().clone() for index, row in enumerate(rows)}
    write_tensors(path, tensors, {DESCRIPTION: json.dumps(description)})


def read_rows(path: str | Path) -> list[Tensor]:
    """The texts of a file, int64 [length] each, in the order of their numbers.

    Args:
        path: of the file.

    Raises:
        DataError: other files.
    """
    tensors = _tensors(path)
    if not any(SAMPLE.fullmatch(name) for name in tensors):
        return list(read_sequences(path))
    numbered: dict[int, Tensor] = {}
    for name, tensor in tensors.items():
        match = SAMPLE.fullmatch(name)
        if match is None:
            raise DataError(
                f"{path} holds {name!r} among its samples", hint="tensors are named sample_0, sample_1, ..."
            )
        if tensor.dim() != 1 or tensor.is_floating_point() or tensor.dtype == torch.bool or not tensor.numel():
            raise DataError(
                f"{name} in {path} is {tensor.dtype} of shape {tuple(tensor.shape)}",
                hint="a sample is whole numbers of shape [length]",
            )
        numbered[int(match[1])] = tensor.long()
    return [numbered[number] for number in sorted(numbered)]


def _tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file; none where the path leads to anything else."""
    try:
        return load_file(path) if Path(path).is_file() else {}
    except SafetensorError:
        return {}
