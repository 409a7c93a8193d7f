"""Batches of a job on disk until their chunk is complete: what lets an interrupted job go on where it was.

Beside OUTPUT stands the folder OUTPUT.parts: `settings.json`, which says what is being sampled, and a file for every
finished batch. When all batches of a chunk are there, they are joined into the chunk's file and removed; every write is
a rename, so a file is whole or not there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ctrlg.distillation.sampling.samples import Samples, reading_places, token_mask
from ctrlg.distillation.sampling.settings import Format
from ctrlg.distillation.sampling.storage import EMBEDDINGS_SUFFIX, NEXT_TOKENS_SUFFIX, write_samples
from ctrlg.errors import ArgumentError, differing_settings
from ctrlg.files.atomic import write_json
from ctrlg.files.disk import temporary_of, writable_folder
from ctrlg.files.tensors import write_tensors

_OURS = re.compile(r"settings\.json|chunk-\d+-batch-\d+|joined-\d+(\.embeddings|\.next_tokens)?")


class Parts:
    """The folder of unfinished chunks of one output."""

    def __init__(self, output: str | Path) -> None:
        self.folder = Path(f"{output}.parts")

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Make the folder for a job of these settings, or enter the one that such a job left.

        Args:
            settings: of the job.

        Raises:
            ArgumentError: a job of other settings left it, or it holds anything else.
        """
        file = self.folder / "settings.json"
        if file.is_file():
            refuse_other_settings(self.folder, self._settings(file), settings)
            return
        writable_folder(self.folder)
        if foreign := [entry.name for entry in self.folder.iterdir() if not _OURS.fullmatch(_name(entry))]:
            raise ArgumentError(
                f"{self.folder} holds what was not written here: {min(foreign)}", hint="choose another output"
            )
        write_json(file, settings)

    def _settings(self, file: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise ArgumentError(
                f"{file} is damaged: {error}", hint=f"remove {self.folder} to sample its unfinished chunks anew"
            ) from error

    def has(self, chunk: int, batch: int) -> bool:
        """Is this batch sampled and stored?

        Args:
            chunk: its number.
            batch: its number in the chunk.
        """
        return self._file(chunk, batch).is_file()

    def write(self, chunk: int, batch: int, samples: Samples) -> None:
        """Store a batch's sequences and, where there are any, embeddings.

        Args:
            chunk: its number.
            batch: its number in the chunk.
            samples: of the batch.
        """
        tensors = {"sequences": samples.sequences.int()}
        if samples.embeddings is not None:
            tensors["embeddings"] = samples.embeddings
        if samples.next_tokens is not None:
            tensors["next_tokens"] = samples.next_tokens
        write_tensors(self._file(chunk, batch), tensors)

    def sequences(self, chunk: int, batch: int) -> Tensor:
        """The sequences of a batch that is stored, int32 [rows, length].

        Args:
            chunk: its number.
            batch: its number in the chunk.
        """
        return _tensor(self._file(chunk, batch), "sequences")

    def join(
        self,
        chunk: int,
        batches: Sequence[Sequence[int]],
        eos_token_id: int,
        file: Path,
        description: Mapping[str, Any],
        file_format: Format = "safetensors",
    ) -> None:
        """Write the chunk's file from its batches and remove them.

        Args:
            chunk: its number.
            batches: the rows of the chunk that each holds.
            eos_token_id: ends a sequence.
            file: of the chunk's sequences.
            description: what the files say of themselves.
            file_format: of the files, see `write_samples`.
        """
        parts = [self._file(chunk, batch) for batch in range(len(batches))]
        rows = [torch.tensor(batch) for batch in batches]
        stored = [_tensor(part, "sequences") for part in parts]
        sequences = torch.empty(sum(map(len, rows)), stored[0].shape[1], dtype=stored[0].dtype)
        for index, part in zip(rows, stored, strict=True):
            sequences[index] = part
        joined = self.folder / f"joined-{chunk}"
        mask = token_mask(sequences, eos_token_id)
        samples = Samples(sequences, *(_joined(parts, rows, mask, name) for name in ("embeddings", "next_tokens")))
        write_samples(joined, samples, description, file_format, mask)
        # The sequences come last: their file says that the chunk is finished.
        for suffix in (EMBEDDINGS_SUFFIX, NEXT_TOKENS_SUFFIX):
            beside = Path(f"{joined}{suffix}")
            if beside.is_file():
                beside.replace(f"{file}{suffix}")
        joined.replace(file)
        for part in parts:
            part.unlink()

    def remove(self) -> None:
        """Remove the folder, with what killed processes left in it, but nothing else."""
        if self.folder.is_dir():
            for entry in self.folder.iterdir():
                if _OURS.fullmatch(_name(entry)):
                    entry.unlink(missing_ok=True)
            with suppress(OSError):  # there is more in it
                self.folder.rmdir()

    def _file(self, chunk: int, batch: int) -> Path:
        return self.folder / f"chunk-{chunk}-batch-{batch}"


def _name(entry: Path) -> str:
    """What a file is called when it is finished."""
    return temporary_of(entry.name) or entry.name


def refuse_other_settings(place: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse data of other settings.

    Args:
        place: where the data are, for the message.
        found: what they say of themselves.
        wanted: what this job says.

    Raises:
        ArgumentError: they differ; the message names how.
    """
    if differences := differing_settings(found, wanted):
        raise ArgumentError(
            f"{place} holds data sampled with other settings: {differences}",
            hint="go on with the same settings, choose another output, or remove it to sample anew",
        )


def _joined(parts: Sequence[Path], rows: Sequence[Tensor], mask: Tensor, name: str) -> Tensor | None:
    """Embeddings or next tokens of all parts in the reading order of the chunk; None where the parts hold none.

    mask: the chunk's predicted tokens, bool [n, T].
    """
    places = reading_places(mask)
    joined: Tensor | None = None
    for part, index in zip(parts, rows, strict=True):
        vectors = _tensor(part, name)
        if vectors is None:
            return None
        if joined is None:
            joined = torch.empty(int(mask.sum()), vectors.shape[1], dtype=vectors.dtype)
        joined[places[index][mask[index]]] = vectors
    return joined


def _tensor(part: Path, name: str) -> Any:
    """One tensor of a part; None where it holds no such tensor."""
    with safe_open(part, framework="pt") as content:
        return content.get_tensor(name) if name in content.keys() else None  # noqa: SIM118 (not a mapping)
