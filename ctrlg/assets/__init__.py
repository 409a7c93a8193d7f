"""The two embedded pairs of a language model and the compressed HMM that was distilled from it.

"default" writes captions: SmolLM2-135M-Instruct adapted to CommonGen. "instruct" answers prompts: the same model as it
is. The wheel of ctrlg carries the adapter and the HMMs (a few megabytes), in this folder; the base model is fetched
once (`ctrlg.loading.embedded`).
"""

from __future__ import annotations

from typing import Any

import torch

from ctrlg.loading.embedded import (
    base_model_file,
    cache_folder,
    default_hmm_path,
    default_model_path,
    instruct_hmm_path,
    instruct_model_path,
)
from ctrlg.loading.language_models import DEFAULT, INSTRUCT, load_language_model

__all__ = [
    "base_model_file",
    "cache_folder",
    "default_hmm_path",
    "default_model",
    "default_model_path",
    "instruct_hmm_path",
    "instruct_model",
    "instruct_model_path",
]


def default_model(device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> tuple[Any, Any]:
    """SmolLM2 adapted to CommonGen; its end-of-text token starts and ends every sentence.

    Fetches about 93 MB at the first call.

    Args:
        device: where the model goes.
        dtype: float32 where None.

    Returns:
        The model in evaluation mode, and the tokenizer.

    Raises:
        CheckpointError: fetching fails; the error says what to do.
    """

    return load_language_model(DEFAULT, device, dtype)


def instruct_model(device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> tuple[Any, Any]:
    """SmolLM2-135M-Instruct as it is; a prompt is a user's turn, and a text ends where a turn does.

    Fetches about 93 MB at the first call.

    Args:
        device: where the model goes.
        dtype: float32 where None.

    Returns:
        The model in evaluation mode, and the tokenizer.

    Raises:
        CheckpointError: fetching fails; the error says what to do.
    """

    return load_language_model(INSTRUCT, device, dtype)
