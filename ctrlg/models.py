"""Language models by name: a Hugging Face id, a folder, a GGUF file, or the project's default."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from ctrlg.arguments import checked, shown
from ctrlg.disk import nameable
from ctrlg.errors import ArgumentError
from ctrlg.model_files import (
    Held,
    check_loaded,
    check_sizes,
    checked_files,
    checked_gguf,
    foreign_errors,
    gguf_read_once,
)

DEFAULT = "default"
DEFAULT_BASE = "default-base"
INSTRUCT = "instruct"


@checked
def load_language_model(
    name: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None, **options: Any
) -> tuple[Any, Any]:
    """(model in evaluation mode, tokenizer) of any causal language model.

    name: "default" (SmolLM2 adapted to CommonGen, see `ctrlg.assets`), "instruct" (before it was adapted, texts end
    where a turn of its chat template does), "default-base" (the file that both are made of), a Hugging Face id, a
    folder, or the path of a GGUF file. dtype: float32 where not given. options: for
    `AutoModelForCausalLM.from_pretrained`.
    Raises ArgumentError for a device that is not there, CheckpointError where the model cannot be loaded.
    """
    place = checked_device(device)
    source, files = _source_of(name)
    with gguf_read_once() if files else nullcontext():
        model, tokenizer = _loaded(name, source, files, dtype or torch.float32, options)
    return model.to(place).eval(), tokenizer


def _loaded(
    name: str | Path, source: str, files: dict[str, str], dtype: torch.dtype, options: dict[str, Any]
) -> tuple[Any, Any]:
    """The model, on the processor, and its tokenizer."""
    held = _checked_source(source, files)

    def load() -> tuple[Any, Any, Any]:
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(source, **files)
        if held is not None:
            config = AutoConfig.from_pretrained(source, **files)
            check_sizes(config, held, str(name))
            options.setdefault("config", config)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, output_loading_info=True, **files, **options
        )
        return tokenizer, *loaded

    tokenizer, model, found = foreign_errors(load, f"the language model {name}")
    check_loaded(model, found["missing_keys"], found["unexpected_keys"], f"the language model {name}")
    if files:
        _forget_quantizer(model)
    return model, tokenizer


@checked
def load_tokenizer(name: str | Path) -> Any:
    """The tokenizer of any language model; name: as for `load_language_model`, or a folder of a tokenizer alone.

    Raises CheckpointError where it cannot be loaded.
    """
    source, files = _source_of(name)
    if not files:
        _checked_source(source, files)

    def load() -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(source, **files)

    return foreign_errors(load, f"the tokenizer {name}")


@checked
def save_language_model(model: Any, tokenizer: Any, folder: str | Path, eos_token_id: int) -> None:
    """Write an ordinary folder that `load_language_model` opens, atomically, in the model's own precision.

    eos_token_id: becomes the token that starts, ends and pads texts. Raises as `atomic_folder`.
    """
    from ctrlg.folders import MODEL_FOLDER, atomic_folder

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


def checked_device(name: str | torch.device) -> torch.device:
    """The device of this name: a number that is put there comes back.

    Raises ArgumentError for names that torch does not know, and for devices that this machine has not.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArgumentError(
            f"the device {shown(name)} cannot be used: {reason}", hint="cpu, or cuda where torch finds a GPU"
        ) from error
    return device


def wait_for(device: str | torch.device) -> None:
    """Wait until a GPU has done all that it was told to do, for those who take the time; the CPU is never behind."""
    place = torch.device(device)
    if place.type == "cuda":
        torch.cuda.synchronize(place)


@contextmanager
def varied_shapes() -> Iterator[None]:
    """Attention without cuDNN inside the block, whose batches change their shape all the time: cuDNN builds a plan for
    every shape, which takes longer than the attention itself."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        yield


def fast_dtype(device: str | torch.device = "cpu") -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, else float32. Raises as `checked_device`."""
    if checked_device(device).type == "cuda":
        return torch.bfloat16
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.bfloat16 if native else torch.float32


def weight_files(name: str | Path) -> list[Path]:
    """Files here that hold a language model's weights, .safetensors of a folder or a GGUF file; perhaps none.

    name: as for `load_language_model`.
    """
    source, files = _source_of(name)
    if files:
        path = Path(source) / files["gguf_file"]
        return [path] if path.is_file() else []
    return sorted(Path(source).glob("*.safetensors"))


def _source_of(name: str | Path) -> tuple[str, dict[str, str]]:
    """What transformers loads: a Hugging Face id or a folder, and the option that names a GGUF file in it."""
    if str(name) in (DEFAULT, DEFAULT_BASE, INSTRUCT):
        from ctrlg import assets

        embedded = {
            DEFAULT: assets.default_model_path,
            DEFAULT_BASE: assets.base_model_file,
            INSTRUCT: assets.instruct_model_path,
        }
        name = embedded[str(name)]()
    nameable(name)
    if str(name).endswith(".gguf"):
        return str(Path(name).parent), {"gguf_file": Path(name).name}
    return str(name), {}


def _checked_source(source: str, files: dict[str, str]) -> Held | None:
    """What the files of a model that is here hold; None for one on the hub, and for a tokenizer alone."""
    if files:
        return checked_gguf(Path(source) / files["gguf_file"])
    return checked_files(Path(source)) if Path(source).is_dir() else None
