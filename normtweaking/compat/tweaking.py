"""What `examples/tweak_model.py` does: one model tweaked, or the best of a grid, in a folder below `save_dir`.

The work is that of `normtweaking.job` with the defaults of the norm-tweaking repository. Some samples are held out: by
them the quantised and the tweaked model are compared, and points of a grid, unless a text is given to choose by.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from ctrlg.errors import ArgumentError
from normtweaking.compat.quantizers import (
    Bridge,
    KMeansQuantizer,
    LinearQuantizer,
    PreComputedQuantizer,
    Quantizer,
)
from normtweaking.grid import Grid
from normtweaking.job import Texts, TweakJob, tweak_model
from normtweaking.measured import Measured
from normtweaking.texts.calibration import CalibrationData
from normtweaking.tweaking.settings import TweakSettings

SETTINGS = TweakSettings(learning_rate=1e-5, scale=5, batch_size=1, final_norm=False)
MOST_HELD_OUT = 8  # samples; a quarter of them where they are few
QUANTIZERS = ("linear", "precomputed", "k-means")


def quantizer_of(name: str, nbits: int, group_size: int | None, path: str | None) -> Quantizer:
    """The quantizer of a name in `QUANTIZERS`.

    Args:
        name: a key of `QUANTIZERS`.
        nbits: of a value.
        group_size: where None a channel for "linear", all channels for "k-means".
        path: for "precomputed".

    Raises:
        ArgumentError: other names, a missing path, and as the quantizers do.
    """
    if name == "linear":
        return LinearQuantizer(nbits, 1 if group_size is None else group_size)
    if name == "k-means":
        return KMeansQuantizer(nbits, group_size)
    if name != "precomputed":
        raise ArgumentError(f"the quantizer {name!r} is unknown", hint=f"one of: {', '.join(QUANTIZERS)}")
    if path is None:
        raise ArgumentError("a precomputed quantizer without its file", hint="give --precomputed-tensors-path")
    return PreComputedQuantizer(path)


def tweak_into(
    save_dir: str | Path,
    model: str,
    data: str | Path,
    quantizer: Quantizer,
    grid: Grid,
    grid_text: Measured,
    device: str,
    say: Callable[[str], None],
) -> Path:
    """Tweak a model on the samples of a file; returns the folder of the result.

    The folder's name is that of the model and a digest of what was asked for, so that the same command writes the same
    folder, and a search that was interrupted goes on.

    Args:
        save_dir: the folder.
        model: id, folder, or .gguf file.
        data: file of samples.
        quantizer: of the linear layers.
        grid: no points where both are empty.
        grid_text: what chooses a point; none where it names no file.
        device: of the model.
        say: told what happens, a line at a time.

    Raises:
        CtrlGError: as `normtweaking.job.tweak_model`.
    """
    samples = CalibrationData.load(data)
    asked = [model, samples.digest(), quantizer.metadata(), any(grid)]
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]
    folder = Path(save_dir) / f"{_short(model)}_tweaked_{digest}"
    texts = Texts(data=str(data), held_out=min(MOST_HELD_OUT, len(samples) // 4))
    job = TweakJob(model, str(folder), Bridge(quantizer), SETTINGS, texts, grid, device=device, grid_text=grid_text)
    tweak_model(job, say)
    return folder


def _short(model: str) -> str:
    """The last part of a model's name."""
    return Path(model).name or "model"
