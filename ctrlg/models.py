"""Language models by name: a Hugging Face id, a folder, a GGUF file, or the project's default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ctrlg.errors import CheckpointError

DEFAULT = "default"
DEFAULT_BASE = "default-base"


def load_language_model(
    name: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None, **options: Any
) -> tuple[Any, Any]:
    """(model in evaluation mode, tokenizer) of any causal language model.

    name: "default" (SmolLM2 adapted to CommonGen, see `ctrlg.assets`), "default-base" (before it was adapted), a
    Hugging Face id, a folder, or the path of a GGUF file. dtype: float32 where not given. options: for
    `AutoModelForCausalLM.from_pretrained`.
    Raises CheckpointError where it cannot be loaded.
    """
    if str(name) in (DEFAULT, DEFAULT_BASE):
        from ctrlg import assets

        name = assets.default_model_path() if str(name) == DEFAULT else assets.base_model_file()
    return _load(Path(name) if Path(name).exists() else str(name), device, dtype or torch.float32, options)


def save_language_model(model: Any, tokenizer: Any, folder: str | Path, eos_token_id: int) -> None:
    """Write an ordinary folder that `load_language_model` opens, atomically, in the model's own precision.

    eos_token_id: becomes the token that starts, ends and pads texts. Weights that came from a GGUF file were
    dequantised on loading; nothing of it is written.
    """
    from ctrlg.files import atomic_folder

    for config in (model.config, model.generation_config):
        config.bos_token_id = config.eos_token_id = config.pad_token_id = eos_token_id
    eos_token = tokenizer.convert_ids_to_tokens(eos_token_id)
    tokenizer.bos_token = tokenizer.eos_token = tokenizer.pad_token = eos_token
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def fast_dtype(device: str | torch.device = "cpu") -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, else float32."""
    if torch.device(device).type == "cuda":
        return torch.bfloat16
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.bfloat16 if native else torch.float32


def _load(name: Path | str, device: str | torch.device, dtype: torch.dtype, options: dict[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    files: dict[str, str] = {}
    source = str(name)
    if source.endswith(".gguf"):
        files = {"gguf_file": Path(name).name}
        source = str(Path(name).parent)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **files)
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **files, **options)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot load the language model {name}: {error}",
            hint='give a Hugging Face id, a folder, a .gguf file, "default" or "default-base"',
        ) from error
    return model.to(device).eval(), tokenizer
