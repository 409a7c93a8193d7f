"""Texts to calibrate on: rows of tokens, in memory, in a file, or cut out of a text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctrlg.arguments import Positive, Seed, Tokenizer, checked
from ctrlg.distillation.sampling.storage import read_description
from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.reading import read_text
from normtweaking.texts.sample_files import read_rows, write_rows


@checked
@dataclass(frozen=True, eq=False)
class CalibrationData:
    """Texts to calibrate on.

    Args:
        tokens: int64 [samples, length].
        description: where they are from, as JSON holds it.
        lengths: of each text, int64 [samples]; what is behind them is padding, and never read. All are whole rows where
            None.

    Raises:
        DataError: tokens and lengths of another shape.
    """

    tokens: Tensor
    description: dict[str, Any] = field(default_factory=dict)
    lengths: Tensor | None = None

    def __post_init__(self) -> None:
        if self.tokens.dim() != 2 or self.tokens.dtype != torch.long or min(self.tokens.shape) < 1:
            raise DataError(
                f"calibration tokens are {self.tokens.dtype} {tuple(self.tokens.shape)}",
                hint="give int64 of shape [samples, length]",
            )
        lengths = self.lengths
        if lengths is not None and (
            lengths.shape != self.tokens.shape[:1] or lengths.min() < 1 or lengths.max() > self.tokens.shape[1]
        ):
            raise DataError(f"lengths are {lengths.tolist()}", hint=f"one for each sample, 1 to {self.tokens.shape[1]}")

    @classmethod
    def of_rows(cls, rows: Sequence[Tensor], description: dict[str, Any] | None = None) -> CalibrationData:
        """Of texts of any lengths, int64 [length] each.

        Args:
            rows: int64 [length] each.
            description: where they are from.

        Raises:
            DataError: there are none.
        """
        if not rows:
            raise DataError("no calibration samples", hint="give at least one")
        lengths = torch.tensor([len(row) for row in rows])
        tokens = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
        return cls(tokens, description or {}, lengths if lengths.min() < lengths.max() else None)

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self) -> list[Tensor]:
        """The texts without padding, int64 [length] each."""
        if self.lengths is None:
            return list(self.tokens)
        return [row[:length] for row, length in zip(self.tokens, self.lengths.tolist(), strict=True)]

    def batches(self, size: int) -> list[Tensor]:
        """Texts of one length together, at most `size`, int64 [B, length] each. Order stays where all are as long.

        Args:
            size: most texts of a batch.
        """
        groups: dict[int, list[Tensor]] = {}
        for row in self.rows():
            groups.setdefault(len(row), []).append(row)
        return [batch for group in groups.values() for batch in torch.stack(group).split(size)]

    def without_padding(self, ends: Collection[int]) -> CalibrationData:
        """The same texts, of the tokens in `ends` at the end of each only the first.

        `generate` of transformers fills rows that end early with end-of-text or padding tokens.

        Args:
            ends: ids of tokens.
        """
        return CalibrationData.of_rows([row[: _end(row.tolist(), ends)] for row in self.rows()], self.description)

    def digest(self) -> str:
        """SHA-256 of the texts."""
        found = hashlib.sha256(self.tokens.cpu().numpy().tobytes())
        if self.lengths is not None:
            found.update(self.lengths.cpu().numpy().tobytes())
        return found.hexdigest()

    @checked
    def save(self, path: str | Path) -> None:
        """Write a safetensors file (`normtweaking.texts.sample_files`), atomically.

        Args:
            path: of the file.
        """
        write_rows(path, self.rows(), self.description)

    @classmethod
    @checked
    def load(cls, path: str | Path) -> CalibrationData:
        """What `save` or the norm-tweaking repository wrote.

        Args:
            path: of the file.

        Raises:
            DataError: anything else.
        """
        return cls.of_rows(read_rows(path), read_description(path))

    @checked
    def split(self, held_out: int) -> tuple[CalibrationData, CalibrationData]:
        """(all rows but the last `held_out`, the last ones).

        Args:
            held_out: how many rows.

        Raises:
            ArgumentError: either would be empty.
        """
        if not 0 < held_out < len(self):
            raise ArgumentError(f"{held_out} of {len(self)} samples held out", hint=f"choose 1 to {len(self) - 1}")
        rows = self.rows()
        parts = rows[:-held_out], rows[-held_out:]
        return (
            CalibrationData.of_rows(parts[0], self.description),
            CalibrationData.of_rows(parts[1], self.description),
        )


@checked
def calibration_from_text(
    tokenizer: Tokenizer, path: str | Path, samples: Positive, length: Positive, seed: Seed = 0
) -> CalibrationData:
    """Rows cut out of a text file, from places sampled by the seed that do not overlap.

    Args:
        tokenizer: of the model.
        path: of the file.
        samples: how many rows.
        length: tokens of a row.
        seed: of the places.

    Raises:
        DataError: the file is missing or too short.
        ArgumentError: samples and lengths below 1.
    """
    tokens = read_tokens(tokenizer, path)
    places = len(tokens) // length
    if places < samples:
        raise DataError(
            f"{path} holds {places} rows of {length} tokens, not {samples}",
            hint="fewer or shorter samples, or more text",
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(places)[:samples])
    rows = tokens[: places * length].view(places, length)[torch.from_numpy(chosen)]
    digest = hashlib.sha256(json.dumps(rows.tolist()).encode()).hexdigest()
    return CalibrationData(rows, {"source": Path(path).name, "seed": seed, "tokens_sha256": digest})


@checked
def read_tokens(tokenizer: Tokenizer, path: str | Path) -> Tensor:
    """Tokens of a text file, int64 [n], without special ones.

    Args:
        tokenizer: of the model.
        path: of the file.

    Raises:
        DataError: there are none.
    """
    text = read_text(path, hint="give a file of UTF-8 text")
    tokens = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if not tokens:
        raise DataError(f"{path} holds no text")
    return torch.tensor(tokens, dtype=torch.long)


def text_ends(model: Any) -> set[int]:
    """Tokens that end a text of this model, or fill a row behind it: end of text and padding.

    Args:
        model: a causal language model of transformers.
    """
    found: set[int] = set()
    for config in (model.config, getattr(model, "generation_config", None)):
        for name in ("eos_token_id", "pad_token_id"):
            tokens = getattr(config, name, None)
            if tokens is not None:
                found |= set(tokens) if isinstance(tokens, (list, tuple)) else {tokens}
    return found


def _end(row: list[int], ends: Collection[int]) -> int:
    """Where a text ends in a row: behind the first of the tokens that fill it."""
    last = len(row)
    while last > 1 and row[last - 1] in ends and row[last - 2] in ends:
        last -= 1
    return last
