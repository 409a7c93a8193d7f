"""Folders that appear as a whole, and the rule that nobody else's is replaced: whatever stands there stays."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ctrlg.errors import ArgumentError, DataError
from ctrlg.files import folders
from ctrlg.files.disk import temporary_name
from ctrlg.files.folders import (
    ADAPTER_FOLDER,
    HMM_FOLDER,
    MANIFEST,
    MODEL_FOLDER,
    TWEAKED_FOLDER,
    FolderKind,
    atomic_folder,
    check_folder,
    remove_folder,
    restore_folder,
)
from ctrlg.files.locks import Lock
from ctrlg.hmm import HMM
from ctrlg.loading import load_hmm
from ctrlg.quantization import quantize


def save(hmm: HMM, folder: Path, kind: FolderKind = HMM_FOLDER) -> None:
    with atomic_folder(folder, kind) as temporary:
        hmm.save_pretrained(temporary)


def content(folder: Path) -> dict[str, bytes | str | None]:
    """Everything below a folder, links and empty folders included."""
    return {
        entry.relative_to(folder).as_posix(): (
            os.readlink(entry) if entry.is_symlink() else entry.read_bytes() if entry.is_file() else None
        )
        for entry in folder.rglob("*")
    }


@pytest.fixture
def first() -> HMM:
    torch.manual_seed(1)
    return HMM(3, 5, 0)


@pytest.fixture
def second() -> HMM:
    torch.manual_seed(2)
    return HMM(3, 5, 0)


def test_what_we_wrote_is_replaced(first: HMM, second: HMM, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "hmm"
    for hmm in (first, second):
        save(hmm, target)
        assert torch.equal(HMM.from_pretrained(target).alpha_exp, hmm.alpha_exp)
    target.joinpath("README.md").unlink()  # less than we wrote is ours, too
    with atomic_folder(target, HMM_FOLDER) as temporary:
        quantize(first, "norm-q", 4).save_pretrained(temporary)
    assert load_hmm(target).hidden_states == 3
    assert [entry.name for entry in target.parent.iterdir()] == ["hmm"]
    (tmp_path / "empty").mkdir()
    save(first, tmp_path / "empty")


FOREIGN: dict[str, Callable[[Path, HMM], object]] = {
    "a text": lambda folder, hmm: (folder / "notes.txt").write_text("mine"),
    "hidden": lambda folder, hmm: (folder / ".env").write_text("mine"),
    "a folder": lambda folder, hmm: (folder / "thesis").mkdir(),
    "deeper": lambda folder, hmm: ((folder / "a").mkdir(), (folder / "a" / "b").write_text("mine")),
    "a link": lambda folder, hmm: (folder / "link").symlink_to("/"),
    "a pipe": lambda folder, hmm: os.mkfifo(folder / "pipe"),
    "a language model": lambda folder, hmm: (
        (folder / "config.json").write_text('{"model_type": "llama"}'),
        (folder / "model.safetensors").write_bytes(b"weights"),
    ),
    "our name as a link": lambda folder, hmm: (save(hmm, folder), replace_by_link(folder / "model.safetensors")),
    "ours and a text": lambda folder, hmm: (save(hmm, folder), (folder / "notes.txt").write_text("mine")),
    "ours and a folder": lambda folder, hmm: (save(hmm, folder), (folder / "old").mkdir()),
    "ours, its card edited": lambda folder, hmm: (save(hmm, folder), (folder / "README.md").write_text("my card")),
    "ours, other weights": lambda folder, hmm: (
        save(hmm, folder),
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[::-1]),
    ),
    "ours of another kind": lambda folder, hmm: save(hmm, folder, MODEL_FOLDER),
    "a list that is none": lambda folder, hmm: (save(hmm, folder), (folder / MANIFEST).write_text("[1]")),
    "earlier, its card edited": lambda folder, hmm: (
        hmm.save_pretrained(folder),
        (folder / "README.md").write_text("my card"),
    ),
}


def replace_by_link(file: Path) -> None:
    kept = file.rename(file.parent.parent / "kept")
    file.symlink_to(kept)


@pytest.mark.parametrize("name", FOREIGN)
def test_what_we_did_not_write_is_refused_and_stays(name: str, first: HMM, second: HMM, tmp_path: Path) -> None:
    target = tmp_path / "runs"
    target.mkdir()
    FOREIGN[name](target, first)
    before = content(tmp_path)
    with pytest.raises(ArgumentError, match="runs") as caught:
        save(second, target)
    assert caught.value.hint
    remove_folder(target, HMM_FOLDER)
    assert content(tmp_path) == before


def test_what_is_no_folder_is_refused_and_stays(first: HMM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "own")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    before = content(tmp_path)
    for spelling in ("../file", "../link", "../broken", "../pipe", ".", "..", "../cwd", "/", "../file/deeper", "/proc"):
        with pytest.raises(ArgumentError):
            save(first, Path(spelling))
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("output", "source"),
    [
        ("runs", "runs/best"),
        ("runs/best", "runs/best"),
        ("runs/best/new", "runs/best"),
        ("runs/../runs/best", "runs/best"),
        ("link/best", "runs/best"),
        ("runs/best", "link/best/../best"),
        ("runs", "link/best/model.safetensors"),
        ("runs/best", "other"),
    ],
)
def test_an_output_does_not_replace_its_source(output: str, source: str, first: HMM, tmp_path: Path) -> None:
    save(first, tmp_path / "runs" / "best")
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    (tmp_path / "other").symlink_to(tmp_path / "runs" / "best")
    before = content(tmp_path)
    with pytest.raises(ArgumentError, match="would replace what it is made of"):
        check_folder(tmp_path / output, HMM_FOLDER, [tmp_path / source])
    assert content(tmp_path) == before
    check_folder(tmp_path / "runs" / "best", HMM_FOLDER, [tmp_path / "runs" / "worst", "default", "gpt2"])


def test_folders_of_earlier_versions_are_known_by_their_content(first: HMM, second: HMM, tmp_path: Path) -> None:
    first.save_pretrained(tmp_path / "float")
    quantize(first, "norm-q", 4).save_pretrained(tmp_path / "coded")
    for name in ("float", "coded"):
        save(second, tmp_path / name)
    tweaked = tmp_path / "tweaked"
    tweaked.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "norm_tweaking.json"):
        (tweaked / name).write_text("{}")
    check_folder(tweaked, TWEAKED_FOLDER)
    with pytest.raises(ArgumentError, match="not written here"):
        check_folder(tweaked, MODEL_FOLDER)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(ArgumentError, match="not written here"):
        check_folder(adapter, ADAPTER_FOLDER)
    (tmp_path / "resume.safetensors").write_bytes(b"")
    check_folder(adapter, ADAPTER_FOLDER)


CONFIG_OF_CTRLG = '{"hidden_states": 3, "vocab_size": 5, "eos_token_id": 0}'


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": '{"model_type": "llama", "vocab_size": 5, "eos_token_id": 0}', "model.safetensors": "weights"},
        {"config.json": "notes"},
        {"config.json": "[" * 100_000},
        {"model.safetensors": "weights"},
    ],
)
@pytest.mark.parametrize("coded", [False, True])
def test_an_hmm_is_not_saved_over_the_files_of_another(
    files: dict[str, str], coded: bool, first: HMM, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = content(tmp_path)
    with pytest.raises(ArgumentError, match="not that of an HMM") as caught:
        (quantize(first, "norm-q", 4) if coded else first).save_pretrained(tmp_path)
    assert caught.value.hint and content(tmp_path) == before


def test_an_hmm_is_saved_over_another_beside_other_files(first: HMM, second: HMM, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "config.json").write_text(CONFIG_OF_CTRLG)
    for hmm in (first, quantize(first, "norm-q", 4), second, second):
        hmm.save_pretrained(str(tmp_path))
    assert torch.equal(HMM.from_pretrained(tmp_path).alpha_exp, second.alpha_exp)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_files_that_arrive_meanwhile_stay_and_so_does_the_result(first: HMM, second: HMM, tmp_path: Path) -> None:
    save(first, tmp_path / "hmm")
    with pytest.raises(ArgumentError, match="by now") as caught, atomic_folder(tmp_path / "hmm", HMM_FOLDER) as folder:
        second.save_pretrained(folder)
        (tmp_path / "hmm" / "notes.txt").write_text("mine")
    kept = Path(caught.value.hint.split()[-1])
    assert torch.equal(HMM.from_pretrained(kept).alpha_exp, second.alpha_exp)
    assert (tmp_path / "hmm" / "notes.txt").read_text() == "mine"
    assert torch.equal(HMM.from_pretrained(tmp_path / "hmm").alpha_exp, first.alpha_exp)


@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_rights_are_those_of_the_umask_or_as_before(mask: int, first: HMM, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        save(first, tmp_path / "hmm")
        assert stat.S_IMODE((tmp_path / "hmm").stat().st_mode) == 0o777 & ~mask
        files = [entry for entry in (tmp_path / "hmm").iterdir()]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o666 & ~mask}
        (tmp_path / "hmm").chmod(0o770)
        (tmp_path / "hmm" / "config.json").chmod(0o600)
        save(first, tmp_path / "hmm")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "hmm").stat().st_mode) == 0o770
    assert stat.S_IMODE((tmp_path / "hmm" / "config.json").stat().st_mode) == 0o600


def test_a_second_writer_is_refused_before_its_work(first: HMM, tmp_path: Path) -> None:
    with (
        Lock(tmp_path / "hmm"),
        pytest.raises(ArgumentError, match="another process"),
        atomic_folder(tmp_path / "hmm", HMM_FOLDER),
    ):
        raise AssertionError("the block is not entered")
    save(first, tmp_path / "hmm")


def test_a_full_disk_leaves_the_folder_as_it_was(first: HMM, tmp_path: Path) -> None:
    save(first, tmp_path / "hmm")
    before = content(tmp_path)
    with (
        pytest.raises(DataError, match="no space left"),
        atomic_folder(tmp_path / "hmm", HMM_FOLDER) as temporary,
    ):
        (temporary / "config.json").write_text("half")
        raise OSError(28, "No space left on device")
    assert content(tmp_path) == before


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from ctrlg.files import folders
from ctrlg.hmm import HMM
moment = sys.argv[2]
if moment != "exchanged":
    folders._exchange = lambda first, second: False
plain_rename, plain_rmtree = Path.rename, folders.shutil.rmtree
def rename(self, target):
    if moment == "before" and self.name == "hmm": os.kill(os.getpid(), signal.SIGKILL)
    result = plain_rename(self, target)
    if moment == "between" and self.name == "hmm": os.kill(os.getpid(), signal.SIGKILL)
    return result
def rmtree(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
Path.rename = rename
torch.manual_seed(2)
with folders.atomic_folder(sys.argv[1], folders.HMM_FOLDER) as temporary:
    HMM(3, 5, 0).save_pretrained(temporary)
    if moment == "writing": os.kill(os.getpid(), signal.SIGKILL)
    folders.shutil.rmtree = rmtree
"""


@pytest.mark.parametrize(
    ("moment", "is_new"),
    [("writing", False), ("before", False), ("between", False), ("after", True), ("exchanged", True)],
)
def test_a_kill_at_any_moment_leaves_a_whole_folder(
    moment: str, is_new: bool, first: HMM, second: HMM, tmp_path: Path
) -> None:
    save(first, tmp_path / "hmm")
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "hmm", moment], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "hmm").exists() == (moment != "between")
    found = HMM.from_pretrained(tmp_path / "hmm")  # puts back what was moved aside
    assert torch.equal(found.alpha_exp, (second if is_new else first).alpha_exp)
    save(second, tmp_path / "hmm")
    assert [entry.name for entry in tmp_path.iterdir()] == ["hmm"]


def test_the_next_writer_recovers_as_well(first: HMM, second: HMM, tmp_path: Path) -> None:
    save(first, tmp_path / "hmm")
    (tmp_path / "hmm").rename(tmp_path / ".hmm.ctrlg-old")
    temporary_name(tmp_path / "hmm").mkdir()
    (tmp_path / ".hmm.ctrlg-notes").mkdir()
    with pytest.raises(KeyError), atomic_folder(tmp_path / "hmm", HMM_FOLDER):
        raise KeyError
    assert torch.equal(HMM.from_pretrained(tmp_path / "hmm").alpha_exp, first.alpha_exp)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".hmm.ctrlg-notes", "hmm"]
    restore_folder(tmp_path / "nothing")


def test_exchange_is_one_step_where_the_system_has_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    if not folders._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("renameat2 is not to be had here")
    assert (tmp_path / "b" / "x").read_text() == "1"
    assert not folders._exchange(tmp_path / "a", tmp_path / "none")
