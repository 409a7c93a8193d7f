"""Open any HMM by path or name: dense as Ctrl-G writes it, or compressed."""

from __future__ import annotations

from pathlib import Path

import torch

from ctrlg.arguments import checked
from ctrlg.devices import checked_device
from ctrlg.hmm import HMM
from ctrlg.hmm.model import load_dense
from ctrlg.loading import embedded
from ctrlg.loading.language_models import DEFAULT, INSTRUCT
from ctrlg.quantization.model import QuantizedHMM
from ctrlg.storage.checkpoint import KIND
from ctrlg.storage.config import read_config
from ctrlg.storage.hub import fetch_checkpoint

EMBEDDED = {DEFAULT: embedded.default_hmm_path, INSTRUCT: embedded.instruct_hmm_path}


@checked
def load_hmm(path_or_name: str | Path, device: torch.device | str = "cpu") -> HMM | QuantizedHMM:
    """An HMM, dense or compressed as it was saved.

    Args:
        path_or_name: a folder, a repository of the Hugging Face hub, or "default" or "instruct": the compressed HMMs
            that come with this package, for the language models of these names.
        device: where the model goes.

    Raises:
        ArgumentError: a device that is not there.
        CheckpointError: there is no such HMM, or it is foreign or damaged.
    """
    place = checked_device(device)
    folder = hmm_folder(path_or_name)
    config = read_config(folder)
    if config.get("kind") == KIND:
        return QuantizedHMM.from_pretrained(folder, device=place)
    return load_dense(HMM, folder, config).to(place)


def hmm_folder(path_or_name: str | Path) -> Path:
    """The folder that `load_hmm` reads.

    Args:
        path_or_name: as for `load_hmm`.

    Raises:
        CheckpointError: there is none.
    """
    embedded = EMBEDDED.get(str(path_or_name))
    return fetch_checkpoint(path_or_name) if embedded is None else embedded()
