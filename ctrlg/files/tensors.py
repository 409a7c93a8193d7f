"""Files of tensors. They may come from anybody, so what they claim is compared with the bytes that are there.

A checkpoint is data from strangers. Only regular files are opened (a FIFO or a device may never end), JSON is read up
to a limit, and the header of a safetensors file is checked against the size of the file before any tensor takes
memory. Every refusal is a CheckpointError that names the file.
"""

from __future__ import annotations

import json
import stat
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ctrlg.errors import CheckpointError
from ctrlg.files.atomic import atomic_file

MOST_JSON_BYTES = 64 << 20  # a tokenizer of a million tokens takes about half of it
MOST_HEADER_BYTES = 100_000_000  # the format's own limit
ITEM_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 1),
}
"""Bytes of one number of the types that torch can hold; what packs several numbers into a byte (F4) is refused."""

FLOAT_TYPES = ("F64", "F32", "F16", "BF16")
"""Types of weights that are the values themselves, not codes of them."""

_LFS_POINTER = b"version https://git-lfs"


class StoredTensor(NamedTuple):
    """What the header of a safetensors file says about one tensor. dtype: a key of ITEM_BYTES."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Numbers in it."""
        total = 1
        for length in self.shape:
            total *= length
        return total


def regular_file(path: str | Path) -> Path:
    """The path itself, if a regular file lies there (or a link to one). Raises CheckpointError."""
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}", hint="a checkpoint is a folder with config.json and model.safetensors"
        ) from error
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path} is not a regular file", hint="name a file or folder of a checkpoint")
    return path


def read_json_object(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError for anything else, and for more than MOST_JSON_BYTES."""
    path = regular_file(path)
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes, more than a configuration takes")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise CheckpointError(f"{path} is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}", hint="a checkpoint is a folder with config.json and model.safetensors"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds {type(content).__name__}, not an object")
    return content


def whole_number(config: Mapping[str, Any], name: str, least: int, most: int, place: str | Path) -> int:
    """The entry `name`, an integer (not a truth value) from `least` to `most`. Raises CheckpointError."""
    value = config.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise CheckpointError(f"{name} in {place} is {_short(value)}", hint=f"a whole number from {least} to {most}")
    return value


def stored_tensors(path: str | Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file, by its header alone, which must account for every byte of the file.

    Raises CheckpointError for what is no safetensors file, truncated, or holds types that torch does not know.
    """
    path = regular_file(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start == _LFS_POINTER[:8]:
            raise CheckpointError(f"{path} is a git-lfs pointer, not the file", hint="fetch it with 'git lfs pull'")
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MOST_HEADER_BYTES, size - 8):
            raise CheckpointError(f"{path} is truncated or no safetensors file ({size:,} bytes)")
        header = _header(file.read(length), path)
    header.pop("__metadata__", None)
    found = {name: _stored(name, entry, path) for name, entry in header.items()}
    end = 0
    for (begin, stop), tensor in sorted((tuple(header[name]["data_offsets"]), found[name]) for name in found):
        if begin != end or stop - begin != tensor.size * ITEM_BYTES[tensor.dtype]:
            raise CheckpointError(f"{path}: the sizes and places of its tensors do not fit together")
        end = stop
    if 8 + length + end != size:
        raise CheckpointError(f"{path} has {size:,} bytes, its header describes {8 + length + end:,}")
    return found


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, after its header was checked. Raises as `stored_tensors`."""
    stored_tensors(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def require_tensors(path: Path, expected: Mapping[str, tuple[int, ...]], dtypes: Collection[str]) -> None:
    """Raise CheckpointError unless the file holds these tensors, in these shapes and types (others may be there)."""
    found = stored_tensors(path)
    missing = sorted(set(expected) - set(found))
    if missing:
        raise CheckpointError(
            f"{path} lacks {', '.join(missing)}; it holds {_short(sorted(found))}",
            hint=f"the checkpoint of an HMM holds {', '.join(expected)}",
        )
    for name, shape in expected.items():
        if found[name].shape != shape or found[name].dtype not in dtypes:
            raise CheckpointError(
                f"{name} in {path} is {found[name].dtype} {list(found[name].shape)}",
                hint=f"config.json asks for {list(shape)}, in {', '.join(dtypes)}",
            )


def metadata_of(path: str | Path) -> dict[str, str]:
    """The texts that a safetensors file says about itself; {} where it says nothing. Raises as `stored_tensors`."""
    stored_tensors(path)
    with Path(path).open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        return dict(_header(file.read(length), path).get("__metadata__") or {})


def _header(data: bytes, path: str | Path) -> dict[str, Any]:
    try:
        header = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no safetensors file: {error}") from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__") or {}, dict):
        raise CheckpointError(f"{path} is no safetensors file: its header is no object")
    return header


def _stored(name: str, entry: Any, path: Path) -> StoredTensor:
    """One entry of a header, its parts checked."""
    if not isinstance(entry, dict):
        raise CheckpointError(f"{path}: {name!r} is described by {_short(entry)}")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if dtype not in ITEM_BYTES:
        raise CheckpointError(
            f"{path}: {name!r} has the type {_short(dtype)}", hint=f"types that can be read: {', '.join(ITEM_BYTES)}"
        )
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise CheckpointError(f"{path}: {name!r} has the shape {_short(shape)} at {_short(offsets)}")
    return StoredTensor(dtype, tuple(shape))


def _naturals(numbers: Any) -> TypeGuard[list[int]]:
    return isinstance(numbers, list) and all(type(number) is int and 0 <= number < 2**62 for number in numbers)


def _short(value: Any) -> str:
    """Its repr, cut after 80 characters: what a stranger wrote must not flood a terminal."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, atomically."""
    with atomic_file(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata=metadata)
