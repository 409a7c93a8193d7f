"""config.json of an HMM's checkpoint: what dense and compressed ones have in common."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ctrlg.arguments import LARGEST_VOCABULARY
from ctrlg.errors import CheckpointError
from ctrlg.files.tensors import read_json_object, whole_number

MOST_STATES = 2**24  # of a checkpoint: far above any HMM, and an index of them fits into memory
_HEX_DIGEST = re.compile("[0-9a-f]{64}")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a checkpoint folder. Raises CheckpointError where it is missing or not a JSON object."""
    return read_json_object(folder / "config.json")


def read_sizes(folder: Path, config: dict[str, Any]) -> tuple[int, int, int, str | None]:
    """hidden_states, vocab_size, eos_token_id, fingerprint of a config, each in its range. Raises CheckpointError."""
    place = folder / "config.json"
    states = whole_number(config, "hidden_states", 1, MOST_STATES, place)
    vocabulary = whole_number(config, "vocab_size", 1, LARGEST_VOCABULARY, place)
    end = whole_number(config, "eos_token_id", 0, vocabulary - 1, place)
    fingerprint = config.get("fingerprint")
    if fingerprint is not None and not (isinstance(fingerprint, str) and _HEX_DIGEST.fullmatch(fingerprint)):
        raise CheckpointError(
            f"fingerprint in {place} is {fingerprint!r}"[:160],
            hint="64 hexadecimal digits, or null where it is unknown",
        )
    return states, vocabulary, end, fingerprint
