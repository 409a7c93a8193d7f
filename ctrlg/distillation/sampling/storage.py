"""Files of sampled data: safetensors of our own, and tensors saved by `torch.save` as Ctrl-G's tools take them.

A file of either form says of itself how it was made: in the metadata of safetensors, and in a torch file, which is a
zip archive, in an entry beside the tensor that `torch.load` does not look at.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ctrlg.distillation.sampling.samples import Samples
from ctrlg.distillation.sampling.settings import Format
from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.atomic import atomic_file
from ctrlg.files.tensors import write_tensors

DESCRIPTION = "drawn"  # entry of the metadata, a JSON object
TORCH_ENTRY = "archive/extra/drawn.json"  # "archive" is the folder that torch.save writes to
EMBEDDINGS_SUFFIX = ".embeddings"  # Ctrl-G's file name: <sequences file>.embeddings
NEXT_TOKENS_SUFFIX = ".next_tokens"  # samples of every next-token distribution: <sequences file>.next_tokens


def write_samples(
    path: str | Path,
    samples: Samples,
    description: Mapping[str, Any] | None = None,
    file_format: Format = "safetensors",
    mask: Tensor | None = None,
) -> None:
    """Write sequences to `path`, atomically, and what there is besides them to files beside it.

    Embeddings go to `path`.embeddings, samples of next tokens to `path`.next_tokens (safetensors in any case).

    Args:
        path: of the sequences.
        samples: to write.
        description: what the files say of themselves, see `read_description`.
        file_format: safetensors, or "pt": one tensor a file, sequences int64 [n, T] and embeddings [n, T, D], which are
            0 after the end of a sequence.
        mask: which tokens have embeddings, bool [n, T]; "pt" needs it for them.

    Raises:
        ArgumentError: the mask is missing.
    """
    # One entry: safetensors writes several in an order of its own, and equal data should be equal files.
    metadata = None if description is None else {DESCRIPTION: json.dumps(description)}
    if samples.next_tokens is not None:
        write_tensors(f"{path}{NEXT_TOKENS_SUFFIX}", {"next_tokens": samples.next_tokens}, metadata)
    if file_format == "pt":
        if samples.embeddings is not None:
            if mask is None:
                raise ArgumentError("embeddings without their mask", hint="pass token_mask(sequences, eos_token_id)")
            vectors = samples.embeddings.new_zeros(*mask.shape, samples.embeddings.shape[1])
            vectors[mask] = samples.embeddings
            _write_torch(f"{path}{EMBEDDINGS_SUFFIX}", vectors, description)
        _write_torch(path, samples.sequences.long(), description)
        return
    if samples.embeddings is not None:
        write_tensors(f"{path}{EMBEDDINGS_SUFFIX}", {"embeddings": samples.embeddings}, metadata)
    write_tensors(path, {"sequences": samples.sequences.int()}, metadata)


def read_description(path: str | Path) -> dict[str, Any]:
    """What a file of ours says of itself: `model`, `chunk`, and `settings` with the seed; {} for other files.

    Args:
        path: of the file.
    """
    try:
        with safe_open(path, framework="pt") as content:
            description = json.loads((content.metadata() or {}).get(DESCRIPTION, "{}"))
    except SafetensorError:
        description = _torch_description(path)
    except (ValueError, OSError):
        return {}
    return description if isinstance(description, dict) else {}


def read_sequences(path: str | Path) -> Tensor:
    """Sequences int64 [n, T] of a file of ours or of Ctrl-G's.

    Args:
        path: of the file.

    Raises:
        DataError: anything else.
    """
    sequences = read_tensor(path, "sequences")
    if sequences.dim() != 2 or sequences.is_floating_point() or not sequences.numel():
        raise DataError(
            f"{path} holds {sequences.dtype} of shape {tuple(sequences.shape)}",
            hint="sequences are whole numbers of shape [n, length]",
        )
    return sequences.long()


def read_embeddings(path: str | Path, mask: Tensor) -> Tensor:
    """Embeddings [tokens, D] of the predicted tokens; from Ctrl-G's files [n, T, D], `mask` [n, T] selects them.

    Args:
        path: of the file.
        mask: the predicted tokens, bool [n, T].
    """
    embeddings = read_tensor(path, "embeddings")
    if embeddings.dim() == 3:
        if embeddings.shape[:2] != mask.shape:
            raise DataError(
                f"{path} holds embeddings of {tuple(embeddings.shape[:2])} tokens for {tuple(mask.shape)}",
                hint="give the embeddings that belong to the sequences",
            )
        embeddings = embeddings[mask]
    if embeddings.dim() != 2 or not embeddings.is_floating_point():
        raise DataError(f"{path} holds no embeddings but {embeddings.dtype} {tuple(embeddings.shape)}")
    return embeddings


def read_tensor(path: str | Path, name: str) -> Tensor:
    """The tensor of this name in a safetensors file, or the only one of a `.pt` file.

    Args:
        path: of the file.
        name: of the tensor.

    Raises:
        DataError: another file, or one without such a tensor.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no such data file: {path}", hint="sample_data.py writes sequences and embeddings")
    try:
        tensors = load_file(path)
    except SafetensorError:
        return _read_torch(path)
    if name not in tensors:
        raise DataError(f"{path} holds {', '.join(tensors)}, not {name}", hint="is this the right file?")
    return tensors[name]


def _write_torch(path: str | Path, tensor: Tensor, description: Mapping[str, Any] | None) -> None:
    """One tensor for `torch.load(path, weights_only=True)`; equal data become equal files."""
    with atomic_file(path) as temporary:
        with temporary.open("wb") as file:  # given a path, torch would name the archive after it
            torch.save(tensor.contiguous(), file)
        if description is not None:
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(zipfile.ZipInfo(TORCH_ENTRY), json.dumps(description))


def _torch_description(path: str | Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(TORCH_ENTRY))
    except (zipfile.BadZipFile, KeyError, ValueError):  # no zip, no such entry (Ctrl-G's files), no JSON
        return {}


def _read_torch(path: Path) -> Tensor:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for foreign files; all of them mean the same here
        raise DataError(
            f"{path} is neither a safetensors file nor a tensor saved by torch: {error}",
            hint="the file is truncated or foreign",
        ) from error
    if not isinstance(content, Tensor):
        raise DataError(f"{path} holds {type(content).__name__}, not a tensor")
    return content
