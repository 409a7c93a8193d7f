"""What is trained of a language model, and how it is kept: a LoRA adapter (arXiv 2106.09685), or all weights.

The trained weights compute in the model's own precision; the optimiser works on float32 copies of them, so that small
steps are not lost to rounding. peft's default, a float32 adapter in a bfloat16 model, costs two conversions of the
activations in every layer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ctrlg.adaptation.settings import ALL_LINEAR
from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.files.atomic import write_json
from ctrlg.files.folders import ADAPTER_FOLDER, atomic_folder
from ctrlg.files.tensors import write_tensors
from ctrlg.loading.language_models import load_language_model
from ctrlg.loading.opening import save_language_model

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class TrainableModel:
    """A language model and the weights of it that are trained.

    Attributes:
        model: what computes the loss (a peft model, or the language model itself where all weights are trained).
        weights: trained parameters by name, in the model's precision.
        masters: the same in float32, which the optimiser changes; the very same tensors where the model is float32.
    """

    model: Any
    weights: dict[str, nn.Parameter]
    masters: dict[str, nn.Parameter]

    def gather_gradients(self) -> None:
        """Move the gradients of the weights to the masters."""
        for name, weight in self.weights.items():
            master = self.masters[name]
            if master is not weight and weight.grad is not None:
                master.grad = weight.grad.float()
                weight.grad = None

    @torch.no_grad()
    def copy_masters(self) -> None:
        """Round the masters into the weights."""
        for name, weight in self.weights.items():
            if self.masters[name] is not weight:
                weight.copy_(self.masters[name])


def with_new_adapter(
    model: Any, rank: int, alpha: float | None = None, target_modules: str | Sequence[str] = ALL_LINEAR
) -> TrainableModel:
    """The model with an untrained LoRA adapter of this rank; its own weights stay as they are.

    Args:
        model: a causal language model of transformers.
        rank: of the adapter.
        alpha: the product is scaled by alpha / rank (2 * rank where not given).
        target_modules: names of linear layers, or "all-linear".

    Raises:
        ArgumentError: the model has no layer of these names.
    """
    from peft import LoraConfig, get_peft_model

    named = target_modules if isinstance(target_modules, str) else sorted(target_modules)
    scale: Any = 2 * rank if alpha is None else alpha
    config = LoraConfig(r=rank, lora_alpha=scale, target_modules=named, task_type="CAUSAL_LM")
    try:
        return _trainable(get_peft_model(model, config))
    except ValueError as error:
        linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
        raise ArgumentError(
            f"cannot adapt the layers {named}: {error}", hint=f"the linear layers are {', '.join(sorted(linear))}"
        ) from error


def with_adapter(model: Any, folder: str | Path) -> TrainableModel:
    """The model with a trained adapter of peft's format, to go on from; rank and layers are the adapter's.

    Args:
        model: a causal language model of transformers.
        folder: of the adapter.

    Raises:
        CheckpointError: a folder that holds no adapter, or that of another model.
    """
    from peft import PeftModel

    _check_is_adapter(folder)
    try:
        return _trainable(PeftModel.from_pretrained(model, str(folder), is_trainable=True))
    except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
        raise _foreign_adapter(folder, error) from error


def with_all_weights(model: Any) -> TrainableModel:
    """The model with all its weights to be trained.

    Args:
        model: a causal language model of transformers.
    """
    return _trainable(model.requires_grad_(True))


def save_adapter(trainable: TrainableModel, folder: Path) -> None:
    """Write the adapter in peft's format, half precision, atomically.

    Args:
        trainable: whose adapter.
        folder: to write.
    """
    from peft import get_peft_model_state_dict

    masters: dict[str, Tensor] = {name: master.detach() for name, master in trainable.masters.items()}
    state = get_peft_model_state_dict(trainable.model, state_dict=masters, save_embedding_layers=False)
    config = trainable.model.peft_config["default"].to_dict()
    if isinstance(config["target_modules"], set):
        config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = None
    config["inference_mode"] = True
    with atomic_folder(folder, ADAPTER_FOLDER) as temporary:
        write_tensors(temporary / ADAPTER_WEIGHTS, {name: tensor.half().cpu() for name, tensor in state.items()})
        write_json(temporary / ADAPTER_CONFIG, json.loads(json.dumps(config, default=str)))


def merge_adapter(model: str | Path, adapter: str | Path, folder: str | Path, eos_token_id: int) -> None:
    """Write a language model with an adapter's products added to its weights as an ordinary model folder.

    Added in float32, written in half precision (bfloat16 where a weight is out of its range). The end-of-text token
    starts and ends its texts.

    Args:
        model: its folder.
        adapter: its folder.
        folder: to write.
        eos_token_id: starts and ends its texts.

    Raises:
        CheckpointError: the adapter is none, or that of another model.
    """
    _check_is_adapter(adapter)
    merge_loaded(*load_language_model(model, dtype=torch.float32), adapter, folder, eos_token_id)


def merge_loaded(loaded: Any, tokenizer: Any, adapter: str | Path, folder: str | Path, eos_token_id: int) -> None:
    """`merge_adapter` of a model that is in memory, in float32.

    Args:
        loaded: the language model in float32; it is changed.
        tokenizer: of the model.
        adapter: its folder.
        folder: to write.
        eos_token_id: starts and ends its texts.

    Raises:
        CheckpointError: as `merge_adapter`.
    """
    from peft import PeftModel

    _check_is_adapter(adapter)
    try:
        merged: Any = PeftModel.from_pretrained(loaded, str(adapter)).merge_and_unload()  # type: ignore[operator]
    except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
        raise _foreign_adapter(adapter, error) from error
    largest = max(float(weight.detach().abs().max()) for weight in merged.parameters())
    half = torch.float16 if largest < torch.finfo(torch.float16).max else torch.bfloat16
    save_language_model(merged.to(half), tokenizer, folder, eos_token_id)


def _trainable(model: Any) -> TrainableModel:
    weights = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    precision = _precision(model, weights)
    # New and loaded adapters are float32 here: the masters begin with all their digits.
    masters: dict[str, nn.Parameter] = {}
    for name, weight in weights.items():
        if precision == torch.float32:
            masters[name] = weight
        else:
            masters[name] = nn.Parameter(weight.detach().float().clone())
            weight.data = weight.data.to(precision)
    return TrainableModel(model, weights, masters)


def _precision(model: Any, trained: dict[str, nn.Parameter]) -> torch.dtype:
    """Of the weights that are not trained, where there are any: an adapter computes as its model does."""
    frozen = (tensor for name, tensor in model.named_parameters() if name not in trained)
    return next(frozen, next(iter(trained.values()))).dtype


def _check_is_adapter(folder: str | Path) -> None:
    if not (Path(folder) / ADAPTER_CONFIG).is_file():
        raise CheckpointError(
            f"{folder} holds no adapter ({ADAPTER_CONFIG} is missing)", hint="name a folder that finetune_lm.py wrote"
        )


def _foreign_adapter(folder: str | Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()
    return CheckpointError(
        f"the adapter in {folder} does not fit this language model: {' '.join(line.strip() for line in reason[:2])}",
        hint="give the model it was trained on",
    )
