"""Weights by GPTQ (arXiv 2210.17323) as the package llm-compressor does it, in a file that `Precomputed` reads.

    column by column: round W's, then move those behind it so that E |W x - V x|^2 grows least

x are the inputs of a linear layer on the calibration texts, in the model whose earlier layers are rounded already.
llm-compressor has one grid for each output channel or group: 2^bits levels, zero among them.
"""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.disk import writable_file
from ctrlg.files.tensors import write_tensors
from ctrlg.loading.opening import weights_digest
from normtweaking.defaults import BATCH_SIZE
from normtweaking.rounding.quantizers import RoundToNearest, check_fits
from normtweaking.structure import decoder_layers, linear_layers
from normtweaking.texts.calibration import CalibrationData

PACKAGE = "llmcompressor"
DESCRIPTION = "gptq"  # the one entry of the metadata, a JSON object: several would come in an order of their own


def require_llmcompressor() -> None:
    """Check that llm-compressor is installed.

    Raises:
        ArgumentError: it is not.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise ArgumentError(
            f"not installed: {PACKAGE}",
            hint='pip install -e ".[gptq]" in an environment of its own, as docs/norm_tweaking.md says',
        )


def write_gptq_weights(
    model: Any, data: CalibrationData, scheme: RoundToNearest, output: str | Path, batch_size: int = BATCH_SIZE
) -> None:
    """Write what `gptq_weights` finds into a safetensors file, atomically, with a description of where it is from.

    Args:
        model: a causal language model of transformers.
        data: texts to calibrate on.
        scheme: bits, group size and symmetry.
        output: file of the weights.
        batch_size: samples at once.

    Raises:
        ArgumentError: before any work, for an output that cannot be written, and as `gptq_weights`.
        DataError: before any work, for samples of unequal lengths.
    """
    require_llmcompressor()
    if data.lengths is not None:
        raise DataError(
            f"the calibration samples have {int(data.lengths.min())} to {int(data.lengths.max())} tokens",
            hint=f"{PACKAGE} reads samples of one length, as generate_data.py writes them",
        )
    writable_file(output)
    description = {
        **scheme.describe(),
        "quantizer": "gptq",
        "calibration_sha256": data.digest(),
        "weights_sha256": weights_digest(model),
        PACKAGE: importlib.metadata.version(PACKAGE),
    }
    weights = gptq_weights(model, data.tokens, scheme, batch_size)
    write_tensors(output, weights, {DESCRIPTION: json.dumps(description)})


def gptq_weights(model: Any, tokens: Tensor, scheme: RoundToNearest, batch_size: int = BATCH_SIZE) -> dict[str, Tensor]:
    """The rounded weights of all linear layers of the decoder.

    Args:
        model: a causal language model of transformers; it stays as it is, a copy is worked on.
        tokens: int64 [samples, length].
        scheme: bits, group size and symmetry; with the latter, llm-compressor has 2^bits levels, one more below zero
            than above.
        batch_size: samples at once.

    Returns:
        The floats they stand for, by the model's names.

    Raises:
        ArgumentError: as `require_llmcompressor`; group sizes that do not fit; models that store their weights
            transposed (GPT-2), which llm-compressor leaves alone.
    """
    require_llmcompressor()
    check_fits(model, scheme)
    prefix, layers = decoder_layers(model)
    linears = list(linear_layers(layers, prefix))
    if any(linear.transposed for linear in linears):
        raise ArgumentError(
            f"{type(model).__name__} stores its weights as [in, out], and {PACKAGE} does not round those",
            hint="give a model of nn.Linear layers",
        )
    copied = copy.deepcopy(model)
    names = [linear.name for linear in linears]
    _run(copied, tokens, _config_group(names, scheme), sorted({type(layer).__name__ for layer in layers}), batch_size)
    return {f"{name}.weight": copied.get_submodule(name).weight.detach().cpu() for name in names}


def _config_group(names: list[str], scheme: RoundToNearest) -> dict[str, Any]:
    """What llm-compressor calls a scheme and the modules that it is for."""
    weights = {
        "num_bits": scheme.bits,
        "type": "int",
        "symmetric": scheme.symmetric,
        "strategy": "channel" if scheme.group_size is None else "group",
        "group_size": scheme.group_size,
    }
    return {"targets": names, "weights": weights}


def _run(model: Any, tokens: Tensor, group: dict[str, Any], layer_types: list[str], batch_size: int) -> None:
    """Round a model in place."""
    gptq: Any = importlib.import_module(f"{PACKAGE}.modifiers.gptq")
    library: Any = importlib.import_module(PACKAGE)
    rows: Any = [{"input_ids": row} for row in tokens]
    with tempfile.TemporaryDirectory() as folder:  # llm-compressor looks for a configuration where the model is from
        model.config.save_pretrained(folder)
        model.config.name_or_path = folder
        library.oneshot(
            model=model,
            processor=object(),  # a tokenizer is asked for, and not used for tokens
            dataset=DataLoader(rows, batch_size=batch_size),
            recipe=gptq.GPTQModifier(config_groups={"group_0": group}),
            pipeline="sequential",
            sequential_targets=layer_types,
        )
