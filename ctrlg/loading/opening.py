"""Language models by their place: a folder, a GGUF file or a repository of the hub, opened, saved and told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ctrlg.arguments import checked, nameable
from ctrlg.files.folders import MODEL_FOLDER, atomic_folder
from ctrlg.loading.model_files import (
    Held,
    check_loaded,
    check_sizes,
    checked_files,
    checked_gguf,
    foreign_errors,
    gguf_read_once,
)
from ctrlg.terminal.console import keep_transformers_quiet


class Source(NamedTuple):
    """What transformers loads: a folder or a hub id, and the option that names a GGUF file in it."""

    place: str
    files: Mapping[str, str]

    @classmethod
    def of(cls, name: str | Path) -> Source:
        """The source of a path or a hub id."""
        nameable(name)
        if str(name).endswith(".gguf"):
            return cls(str(Path(name).parent), {"gguf_file": Path(name).name})
        return cls(str(name), {})


def open_language_model(
    source: Source, name: str | Path, dtype: torch.dtype = torch.float32, options: Mapping[str, Any] | None = None
) -> tuple[Any, Any]:
    """(model in evaluation mode on the CPU, tokenizer) of a source; errors speak of `name`. Raises CheckpointError."""
    with gguf_read_once() if source.files else nullcontext():
        return _opened(source, name, dtype, dict(options or {}))


def _opened(source: Source, name: str | Path, dtype: torch.dtype, options: dict[str, Any]) -> tuple[Any, Any]:
    held = held_by(source)

    def load() -> tuple[Any, Any, Any]:
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        keep_transformers_quiet()
        tokenizer = AutoTokenizer.from_pretrained(source.place, **source.files)
        if held is not None:
            config = AutoConfig.from_pretrained(source.place, **source.files)
            check_sizes(config, held, str(name))
            options.setdefault("config", config)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.place, dtype=dtype, output_loading_info=True, **source.files, **options
        )
        return tokenizer, *loaded

    tokenizer, model, found = foreign_errors(load, f"the language model {name}")
    check_loaded(model, found["missing_keys"], found["unexpected_keys"], f"the language model {name}")
    if source.files:
        _forget_quantizer(model)
    return model.eval(), tokenizer


@checked
def save_language_model(model: Any, tokenizer: Any, folder: str | Path, eos_token_id: int) -> None:
    """Write an ordinary folder that `load_language_model` opens, atomically, in the model's own precision.

    eos_token_id: becomes the token that starts, ends and pads texts. Raises as `atomic_folder`.
    """
    for config in (model.config, model.generation_config):
        config.bos_token_id = config.eos_token_id = config.pad_token_id = eos_token_id
    eos_token = tokenizer.convert_ids_to_tokens(eos_token_id)
    tokenizer.bos_token = tokenizer.eos_token = tokenizer.pad_token = eos_token
    with atomic_folder(folder, MODEL_FOLDER) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def _forget_quantizer(model: Any) -> None:
    """Weights of a GGUF file are dequantised on loading: the model is an ordinary one, and may be cast and saved."""
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def weights_digest(model: Any) -> str:
    """Tells models apart, retrained ones too: a digest of the first numbers of every parameter."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().flatten()[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def held_by(source: Source) -> Held | None:
    """What the files of a model that is here hold; None for one on the hub, and for a tokenizer alone."""
    if source.files:
        return checked_gguf(Path(source.place) / source.files["gguf_file"])
    return checked_files(Path(source.place)) if Path(source.place).is_dir() else None
