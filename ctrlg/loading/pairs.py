"""A language model together with the HMM that guides it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ctrlg.devices import fast_dtype
from ctrlg.hmm import HMM
from ctrlg.loading.hmms import hmm_folder, load_hmm
from ctrlg.loading.language_models import DEFAULT, INSTRUCT, load_language_model
from ctrlg.quantization.model import QuantizedHMM

NONE = "none"


def load_pair(
    model: str | Path, hmm: str | Path | None = None, device: str = "cpu"
) -> tuple[Any, Any, HMM | QuantizedHMM | None]:
    """A language model in the device's fast precision, its tokenizer and an HMM, both read at the same time.

    Args:
        model: as for `load_language_model`.
        hmm: as for `load_hmm`; the embedded one that belongs to the model where None, and none at all for "none".
        device: where both go.

    Raises:
        ArgumentError: a device that is not there.
        CheckpointError: either cannot be loaded.
    """
    if hmm == NONE:
        return *load_language_model(model, device, fast_dtype(device)), None
    folder = hmm_folder(hmm or (INSTRUCT if model == INSTRUCT else DEFAULT))  # a wrong name shows before anything loads
    # Decoding the HMM leaves Python's lock to others, who meanwhile import transformers.
    with ThreadPoolExecutor(1) as beside:
        guide = beside.submit(load_hmm, folder, device)
        language_model, tokenizer = load_language_model(model, device, fast_dtype(device))
        return language_model, tokenizer, guide.result()
