"""Language models by name: a Hugging Face id, a folder, a GGUF file, or the project's default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ctrlg.arguments import checked
from ctrlg.devices import checked_device
from ctrlg.loading import embedded
from ctrlg.loading.model_files import foreign_errors
from ctrlg.loading.opening import Source, held_by, open_language_model
from ctrlg.terminal.console import keep_transformers_quiet

DEFAULT = "default"
DEFAULT_BASE = "default-base"
INSTRUCT = "instruct"

_EMBEDDED = {
    DEFAULT: embedded.default_model_path,
    DEFAULT_BASE: embedded.base_model_file,
    INSTRUCT: embedded.instruct_model_path,
}


@checked
def load_language_model(
    name: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None, **options: Any
) -> tuple[Any, Any]:
    """Any causal language model, with its tokenizer.

    Args:
        name: "default" (SmolLM2 adapted to CommonGen, see `ctrlg.assets`), "instruct" (before it was adapted, texts end
            where a turn of its chat template does), "default-base" (the file that both are made of), a Hugging Face id,
            a folder, or the path of a GGUF file.
        device: where the model goes.
        dtype: float32 where not given.
        options: for `AutoModelForCausalLM.from_pretrained`.

    Returns:
        The model in evaluation mode, and the tokenizer.

    Raises:
        ArgumentError: a device that is not there.
        CheckpointError: the model cannot be loaded.
    """
    place = checked_device(device)
    model, tokenizer = open_language_model(_source_of(name), name, dtype or torch.float32, options)
    return model.to(place), tokenizer


@checked
def load_tokenizer(name: str | Path) -> Any:
    """The tokenizer of any language model.

    Args:
        name: as for `load_language_model`, or a folder of a tokenizer alone.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    source = _source_of(name)
    if not source.files:
        held_by(source)

    def load() -> Any:
        from transformers import AutoTokenizer

        keep_transformers_quiet()
        return AutoTokenizer.from_pretrained(source.place, **source.files)

    return foreign_errors(load, f"the tokenizer {name}")


def weight_files(name: str | Path) -> list[Path]:
    """Files here that hold a language model's weights, .safetensors of a folder or a GGUF file; perhaps none.

    Args:
        name: as for `load_language_model`.
    """
    source = _source_of(name)
    if source.files:
        path = Path(source.place) / source.files["gguf_file"]
        return [path] if path.is_file() else []
    return sorted(Path(source.place).glob("*.safetensors"))


def is_ordinary(name: str | Path) -> bool:
    """Whether other libraries open the model by this name: a Hugging Face id or a folder.

    Args:
        name: as for `load_language_model`.
    """
    return str(name) not in _EMBEDDED and not str(name).endswith(".gguf")


def _source_of(name: str | Path) -> Source:
    """The source behind a name; embedded models are fetched and built where they are not in the cache yet."""
    path = _EMBEDDED.get(str(name))
    return Source.of(name if path is None else path())
