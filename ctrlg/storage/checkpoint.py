"""The file format of a compressed HMM: `config.json` and `model.safetensors` in a folder.

config.json states kind, format version, method, bits, sizes, layouts, vocabulary fingerprint and the SHA-256
of the tensors. model.safetensors holds, for `transition` and `emission`, the arrays of
`ctrlg.storage.layouts.PackedMatrix` as `<matrix>.<array>`, and the initial distribution: in format version 1 as
`initial` (float32 [H]), in version 2 compressed like them, a matrix [1, H]. Reading checks what the parts say before
what they sum up to, so that the error names the fault rather than the checksum.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from ctrlg.errors import CheckpointError
from ctrlg.files.atomic import atomic_file, write_json
from ctrlg.files.tensors import load_tensors, whole_number
from ctrlg.matrices import CompressedMatrix
from ctrlg.storage.config import read_config, read_sizes
from ctrlg.storage.layouts import PackedMatrix, pack_matrix, unpack_matrix

KIND = "quantized-hmm"
FLOAT_INITIAL, CODED_INITIAL = 1, 2  # format versions
TENSORS_FILE = "model.safetensors"
MATRICES = ("transition", "emission")
_INITIAL_TOLERANCE = 1e-3


class StoredHMM(NamedTuple):
    """What a checkpoint holds; the fields are the arguments of QuantizedHMM."""

    transition: CompressedMatrix
    emission: CompressedMatrix
    initial: Tensor | CompressedMatrix
    eos_token_id: int
    method: str
    bits: int
    fingerprint: str | None
    settings: Mapping[str, Any]
    strength: float

    @property
    def initial_row(self) -> Tensor:
        """The initial distribution in float32, [H]."""
        return self.initial.to_dense()[0] if isinstance(self.initial, CompressedMatrix) else self.initial


def write(folder: Path, stored: StoredHMM) -> None:
    """Write both files, each atomically. Raises ArgumentError where the folder cannot be written."""
    data, config = _encode(stored)
    with atomic_file(folder / TENSORS_FILE) as temporary:
        temporary.write_bytes(data)
    write_json(folder / "config.json", config)


def file_size(stored: StoredHMM) -> int:
    """Bytes that model.safetensors takes."""
    return len(_encode(stored)[0])


def read(folder: Path) -> StoredHMM:
    """The model in `folder`, every part checked.

    Raises CheckpointError for another kind of checkpoint, an unknown format version or method, and whatever
    is missing, truncated, out of range or inconsistent.
    """
    config = read_config(folder)
    _check_kind(config, folder)
    bits = whole_number(config, "bits", 1, 8, "config.json")
    states, vocabulary, eos_token_id, fingerprint = read_sizes(folder, config)
    settings = config.get("settings", {})
    if not isinstance(settings, dict):
        raise CheckpointError(f"settings in config.json are {settings!r}"[:160], hint="an object")
    strength = config.get("strength", 1.0)
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 < strength < math.inf:
        raise CheckpointError(f"strength in config.json is {strength!r}"[:160], hint="a number above 0, such as 1")
    tensors = load_tensors(folder / TENSORS_FILE)
    shapes = {"transition": (states, states), "emission": (states, vocabulary)}
    if config["format_version"] == CODED_INITIAL:
        shapes["initial"] = (1, states)
    _check_tensors(tensors, shapes)
    matrices = {name: _read_matrix(name, config, tensors, shape, bits) for name, shape in shapes.items()}
    initial = matrices["initial"] if "initial" in matrices else _checked_initial(tensors, states)
    if hashlib.sha256((folder / TENSORS_FILE).read_bytes()).hexdigest() != config.get("sha256"):
        raise CheckpointError(
            f"the SHA-256 of {TENSORS_FILE} is not the one in config.json", hint="the files are from different models"
        )
    return StoredHMM(
        matrices["transition"],
        matrices["emission"],
        initial,
        eos_token_id,
        config["method"],
        bits,
        fingerprint,
        settings,
        strength,
    )


def _encode(stored: StoredHMM) -> tuple[bytes, dict[str, Any]]:
    """The bytes of model.safetensors, and the content of config.json."""
    tensors: dict[str, Tensor] = {}
    matrices = {name: getattr(stored, name) for name in MATRICES}
    if isinstance(stored.initial, CompressedMatrix):
        matrices["initial"] = stored.initial
    else:
        tensors["initial"] = stored.initial.cpu().contiguous()
    layouts: dict[str, Any] = {}
    for name, matrix in matrices.items():
        packed = pack_matrix(matrix, stored.bits)
        tensors |= {f"{name}.{array}": torch.from_numpy(value) for array, value in packed.arrays.items()}
        layouts[name] = {"layout": packed.layout, "lines": packed.lines, "entries": packed.entries}
    data = save(tensors)
    states, vocabulary = stored.emission.shape
    config = {
        "kind": KIND,
        "format_version": CODED_INITIAL if "initial" in matrices else FLOAT_INITIAL,
        "method": stored.method,
        "bits": stored.bits,
        "settings": dict(stored.settings),
        "hidden_states": states,
        "vocab_size": vocabulary,
        "eos_token_id": stored.eos_token_id,
        "fingerprint": stored.fingerprint,
        **({} if stored.strength == 1 else {"strength": stored.strength}),
        **layouts,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return data, config


def _check_kind(config: dict[str, Any], folder: Path) -> None:
    kind = config.get("kind")
    if kind != KIND:
        raise CheckpointError(
            f"{folder} holds {'no compressed HMM' if kind is None else f'a {kind}'}",
            hint="ctrlg.load_hmm opens dense and compressed models; ctrlg.quantize compresses a dense one",
        )
    if config.get("format_version") not in (FLOAT_INITIAL, CODED_INITIAL):
        raise CheckpointError(
            f"format version {config.get('format_version')!r} is not known, {FLOAT_INITIAL} and {CODED_INITIAL} are",
            hint="install a newer ctrlg",
        )
    if not isinstance(config.get("method"), str):
        raise CheckpointError(f"method in config.json is {config.get('method')!r}", hint="the name of a method")


def _check_tensors(tensors: Mapping[str, Tensor], matrices: Collection[str]) -> None:
    for name, tensor in tensors.items():
        matrix, dot, _ = name.partition(".")
        known = matrix in matrices if dot else name == "initial" and name not in matrices
        if not known:
            raise CheckpointError(f"{TENSORS_FILE} holds {name!r}, which is no part of a compressed HMM")
        if tensor.dtype not in (torch.float32, torch.uint8):
            raise CheckpointError(f"{name} in {TENSORS_FILE} is {tensor.dtype}, expected float32 or uint8")


def _read_matrix(
    name: str, config: dict[str, Any], tensors: dict[str, Tensor], shape: tuple[int, int], bits: int
) -> CompressedMatrix:
    described = config.get(name)
    layouts = (("dense", None), ("sparse", "rows"), ("sparse", "columns"))
    if not isinstance(described, dict) or (described.get("layout"), described.get("lines")) not in layouts:
        raise CheckpointError(
            f"{name} in config.json is {described!r}", hint="a layout: dense, or sparse by rows or columns"
        )
    entries = whole_number(described, "entries", 0, shape[0] * shape[1], f"{name} of config.json")
    prefix = f"{name}."
    arrays = {key[len(prefix) :]: value.numpy() for key, value in tensors.items() if key.startswith(prefix)}
    packed = PackedMatrix(described["layout"], described["lines"], entries, arrays)
    try:
        return unpack_matrix(packed, shape, bits)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error.message}", hint=error.hint) from error


def _checked_initial(tensors: dict[str, Tensor], states: int) -> Tensor:
    initial = tensors.get("initial")
    if initial is None or initial.dtype != torch.float32 or tuple(initial.shape) != (states,):
        raise CheckpointError(f"the initial distribution is not a float32 tensor [{states}]")
    if not bool((initial >= 0).all()) or not abs(float(initial.double().sum()) - 1) <= _INITIAL_TOLERANCE:
        raise CheckpointError(f"the initial distribution sums to {float(initial.double().sum()):.6g}, or is negative")
    return initial
