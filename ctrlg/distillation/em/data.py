"""The samples of a training run, read and checked before any work."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from ctrlg.distillation.em.settings import TrainingSettings
from ctrlg.distillation.sampling.next_tokens import read_next_tokens
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.errors import DataError, VocabularyError
from ctrlg.hmm import HMM
from ctrlg.hmm.inference import check_tokens


def check_data(settings: TrainingSettings, vocab_size: int, eos_token_id: int) -> str:
    """Read every file of the run once; a digest of what they hold, by which changed data is noticed on resuming.

    Args:
        settings: of the run.
        vocab_size: of the HMM.
        eos_token_id: of the HMM.

    Returns:
        A digest of what they hold, by which changed data is noticed on resuming.

    Raises:
        DataError: files are missing (naming them), hold no sequences or chunks of several lengths.
        VocabularyError: token ids the HMM does not know.
    """
    files = data_files(settings)
    missing = [file for file in files if not file.is_file()]
    if missing:
        shown = ", ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise DataError(
            f"no such data file: {shown}",
            hint=f"sample_data.py writes them; total_chunks is {settings.total_chunks}, numbered from 0",
        )
    digest = hashlib.sha256()
    lengths: set[int] = set()
    numbers: set[int] = set()
    for file in files:
        sequences = read_sequences(file)
        if file != settings.dev_file():
            lengths.add(_cut(settings, sequences).shape[1])
        try:
            check_tokens(sequences, vocab_size)
        except VocabularyError as error:
            raise VocabularyError(f"{file}: {error.message}", hint=error.hint) from error
        digest.update(repr(tuple(sequences.shape)).encode())
        digest.update(sequences.contiguous().numpy().tobytes())
        if settings.next_tokens and file != settings.dev_file():
            next_tokens = read_next_tokens(file, token_mask(sequences, eos_token_id), vocab_size)
            numbers.add(next_tokens.shape[1])
            digest.update(next_tokens.numpy().tobytes())
    if len(lengths) > 1:
        raise DataError(
            f"the chunks in {settings.data} hold sequences of {len(lengths)} lengths: {sorted(lengths)}",
            hint="sample them with one --max_new_tokens, or cut them with --sample_length",
        )
    if len(numbers) > 1:
        raise DataError(
            f"the chunks in {settings.data} have {sorted(numbers)} samples of next tokens a place",
            hint="remove the .next_tokens files and make them all with one --next_tokens",
        )
    return digest.hexdigest()


def data_files(settings: TrainingSettings) -> list[Path]:
    """The dev file, then the chunks.

    Args:
        settings: of the run.
    """
    return [settings.dev_file(), *map(settings.training_file, range(settings.total_chunks))]


def dev_sequences(settings: TrainingSettings) -> Tensor:
    """Sequences int64 [n, T] of the dev file, cut to sample_length.

    Args:
        settings: of the run.
    """
    return _cut(settings, read_sequences(settings.dev_file()))


def training_sequences(settings: TrainingSettings, chunks: tuple[int, ...]) -> Tensor:
    """Sequences int64 [n, T] of some chunks, cut to sample_length.

    Args:
        settings: of the run.
        chunks: their numbers.
    """
    return torch.cat([_cut(settings, read_sequences(settings.training_file(chunk))) for chunk in chunks])


def training_next_tokens(settings: TrainingSettings, chunks: tuple[int, ...], model: HMM) -> Tensor | None:
    """Next tokens, int32 [tokens, K] for the predicted tokens of training_sequences; None where settings do not ask.

    Args:
        settings: of the run.
        chunks: their numbers.
        model: whose vocabulary the tokens are of.
    """
    if not settings.next_tokens:
        return None
    parts = []
    for file in map(settings.training_file, chunks):
        mask = token_mask(read_sequences(file), model.eos_token_id)
        next_tokens = read_next_tokens(file, mask, model.vocab_size)
        kept = torch.zeros_like(mask)
        kept[:, : settings.sample_length] = True
        parts.append(next_tokens if settings.sample_length is None else next_tokens[kept[mask]])
    return torch.cat(parts)


def file_digest(path: Path) -> str:
    """SHA-256 of a file.

    Args:
        path: of the file.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _cut(settings: TrainingSettings, sequences: Tensor) -> Tensor:
    return sequences[:, : settings.sample_length]
