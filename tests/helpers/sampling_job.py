"""A small sampling job, here and in processes of its own: `python sampling_job.py FOLDER` under torchrun's environment.

The processes first draw FOLDER/whole to its end; then FOLDER/killed, where process 0 kills itself on the way.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from ctrlg.distillation.processes import joined_processes
from ctrlg.distillation.sampling.chunks import ChunkProgress, ChunkSettings, sample_chunks
from ctrlg.distillation.sampling.samples import SamplingSettings
from helpers import tiny_models

EOS = 0
VOCABULARY = 12


def tiny_language_model(seed: int = 0) -> Any:
    return tiny_models.tiny_language_model(VOCABULARY, seed, EOS, layers=2, initializer_range=0.5)


PROMPTS = [[EOS], [3, 4], [5], [2, 7], [8, 1]]
SETTINGS = ChunkSettings(SamplingSettings(6), chunk_size=23, total_chunks=3, batch_size=4, embeddings=True, seed=4)
KILLED_AFTER_TOKENS = 150  # of process 0: in its second chunk, within a batch


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    model = tiny_language_model()

    def kill(state: ChunkProgress) -> None:
        if processes.rank == 0 and state.tokens // processes.world_size > KILLED_AFTER_TOKENS:
            os.kill(os.getpid(), signal.SIGKILL)

    with joined_processes("cpu") as processes:
        sample_chunks(model, PROMPTS, EOS, SETTINGS, folder / "whole", processes)
        sample_chunks(model, PROMPTS, EOS, SETTINGS, folder / "killed", processes, kill)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
