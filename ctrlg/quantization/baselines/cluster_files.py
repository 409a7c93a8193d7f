"""Clusters as the files that Norm-Q's notebook plots: NAME6.pt, NAME6labels.pt, NAME6centroids.pt for each matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.files.atomic import atomic_file, writable_folder, write_json
from ctrlg.quantization.baselines.k_means import Clusters


def check_cluster_folder(folder: str | Path, names: Iterable[str], bits: int) -> None:
    """Check that `write_clusters` may write.

    Args:
        folder: to write to.
        names: of the matrices in Ctrl-G.
        bits: of the labels, part of the files' names.

    Raises:
        ArgumentError: the folder cannot be written, or holds such files that did not come from here.
    """
    folder = writable_folder(folder)
    taken = [path for name in names for path in _files(folder, name, bits) if path.exists()]
    if taken and not _note(folder, bits).is_file():
        raise ArgumentError(f"{taken[0]} is there already", hint="choose another folder for the tensors")


def write_clusters(
    folder: str | Path, clusters: Mapping[str, Clusters], bits: int, note: Mapping[str, Any]
) -> list[Path]:
    """Write three tensors of every matrix for `torch.load(..., weights_only=True)`; returns their files.

    Args:
        folder: to write to.
        clusters: by the matrix' name in Ctrl-G (alpha_exp, beta, gamma). NAME{bits}.pt is the matrix with every entry
            replaced by its centroid, NAME{bits}labels.pt int32 [entries], NAME{bits}centroids.pt [2^bits, 1], the last
            centroid repeated where there are fewer.
        bits: of the labels.
        note: how they were made; it goes beside them as JSON, and says that they are ours.

    Returns:
        The files of tensors.

    Raises:
        ArgumentError: as `check_cluster_folder`.
    """
    folder = Path(folder)
    check_cluster_folder(folder, clusters, bits)
    write_json(_note(folder, bits), dict(note))
    written = []
    for name, found in clusters.items():
        missing = 2**bits - len(found.centroids)
        points = torch.cat([found.centroids, found.centroids[-1:].expand(missing)])
        tensors = (found.values(), found.labels.flatten(), points[:, None])
        for path, tensor in zip(_files(folder, name, bits), tensors, strict=True):
            _save(path, tensor)
            written.append(path)
    return written


def _files(folder: Path, name: str, bits: int) -> list[Path]:
    return [folder / f"{name}{bits}{what}.pt" for what in ("", "labels", "centroids")]


def _note(folder: Path, bits: int) -> Path:
    return folder / f"clusters{bits}.json"


def _save(path: Path, tensor: Tensor) -> None:
    with atomic_file(path) as temporary:
        torch.save(tensor.cpu().clone(), temporary)  # a view would save all of its storage
