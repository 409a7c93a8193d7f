"""Open any HMM by path or name: dense as Ctrl-G writes it, or compressed."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch

from ctrlg.errors import CheckpointError
from ctrlg.files import fetch_checkpoint
from ctrlg.hmm import HMM
from ctrlg.hmm.model import load_dense, read_config
from ctrlg.quantization.checkpoint import KIND
from ctrlg.quantization.model import QuantizedHMM

DEFAULT = "default"


def load_hmm(path_or_name: str | Path, device: torch.device | str = "cpu") -> HMM | QuantizedHMM:
    """An HMM, dense or compressed as it was saved.

    path_or_name: a folder, a repository of the Hugging Face hub, or "default", the compressed HMM that comes
    with this package. Raises CheckpointError where there is none, and for one that is foreign or damaged.
    """
    folder = _default_folder() if str(path_or_name) == DEFAULT else fetch_checkpoint(path_or_name)
    config = read_config(folder)
    if config.get("kind") == KIND:
        return QuantizedHMM.from_pretrained(folder, device=device)
    return load_dense(HMM, folder, config).to(device)


def _default_folder() -> Path:
    folder = Path(str(files("ctrlg") / "assets" / "hmm"))
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            "this installation has no embedded HMM", hint="install the whole package, or name a folder or repository"
        )
    return folder
