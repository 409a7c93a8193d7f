"""Folders that appear, and replace an earlier one, as a whole; nobody else's folder is ever replaced.

A folder of ours holds `.ctrlg.json`, which names its kind, and of every file the size and a digest. The one rule: a
target may be replaced where it is missing, empty, or a folder of the same kind in which every file is as we wrote it. A
folder of an earlier version, which holds no such list, is ours where `FolderKind.is_earlier` knows it by its content.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ctrlg.arguments import nameable
from ctrlg.errors import ArgumentError
from ctrlg.files.disk import TEMPORARY_BYTES, saving, sha256, synchronise, temporaries, temporary_name, writable_folder
from ctrlg.files.json_text import json_text
from ctrlg.files.locks import Lock

MANIFEST = ".ctrlg.json"
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux's renameat2
_AT_FDCWD = -100


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder.

    name: for messages. files: patterns of the names that earlier versions wrote. is_earlier: whether a folder without a
    list of files, in which all names are among these, was written by an earlier version.
    """

    name: str
    files: tuple[str, ...]
    is_earlier: Callable[[Path], bool] = lambda folder: False


@contextmanager
def atomic_folder(path: str | Path, kind: FolderKind, sources: Iterable[str | Path] = ()) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends without an error.

    sources: files and folders that are read for it, as `check_folder`. The block may hold the work as well: what is
    refused is refused before it begins, and no other process writes the same folder meanwhile.
    Raises ArgumentError as `check_folder`, and where another process writes the folder; DataError for a full disk.
    """
    target = check_folder(path, kind, sources)
    with Lock(target), saving(path):
        _recover(target, kind)
        temporary = temporary_name(target)
        temporary.mkdir()
        try:
            yield temporary
            _settle_modes(temporary, target)
            _write_manifest(temporary, kind)
            _synchronise_all(temporary)
            if problem := _foreign_content(target, kind):
                kept = target.with_name(f"{target.name}{temporary.suffix}")
                temporary.rename(kept)
                raise ArgumentError(f"{path} {problem} by now", hint=f"what should have replaced it is in {kept}")
            _put_in_place(temporary, target)
            synchronise(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def check_folder(path: str | Path, kind: FolderKind, sources: Iterable[str | Path] = ()) -> Path:
    """The absolute path of a folder that may be written.

    sources: files and folders that are read; what is no path is not looked at. Raises ArgumentError where the rule of
    this module forbids it, where a source lies in the folder or the folder in a source, and where the folder cannot be
    replaced at all (a file, a link, a mount point, the working directory) or has too long a name. Nothing is changed.
    """
    target = nameable(_absolute(path), TEMPORARY_BYTES)
    for source in map(Path, sources):
        if _exists(source) and (_is_inside(source, target) or _is_inside(target, source)):
            raise ArgumentError(
                f"{path} would replace what it is made of: {source}", hint="choose an output apart from its source"
            )
    if problem := _unreplaceable(target) or _foreign_content(target, kind):
        raise ArgumentError(f"{path} {problem}", hint="choose another output, or move away what is there")
    writable_folder(target.parent)
    return target


def damaged_files(folder: Path) -> list[Path]:
    """Files of a folder of ours that are missing or are not as they were written; none where it lists no files."""
    known = (_manifest(folder) or {"files": {}})["files"]
    return [
        folder / name
        for name, written in known.items()
        if not (folder / name).is_file()
        or (folder / name).stat().st_size != written["bytes"]
        or sha256(folder / name) != written["sha256"]
    ]


def check_hmm_files(folder: Path) -> None:
    """Make sure that an HMM may be saved into a folder, over no files but those of an HMM. Raises ArgumentError where
    config.json or model.safetensors is somebody else's, with nothing changed, and where the folder cannot be written.
    """
    there = [name for name in ("config.json", "model.safetensors") if _exists(folder / name)]
    if there and not _hmm_config(folder):
        raise ArgumentError(
            f"{folder} holds a {there[0]} that is not that of an HMM",
            hint="choose another folder, or move away what is there",
        )
    writable_folder(folder)


def remove_folder(path: str | Path, kind: FolderKind) -> None:
    """Remove a folder that `check_folder` would let be replaced; any other stays."""
    target = _absolute(path)
    if target.is_dir() and not _foreign_content(target, kind):
        shutil.rmtree(target, ignore_errors=True)


def restore_folder(path: str | Path) -> None:
    """Put back a folder that a killed process had moved aside; does nothing where the folder is there."""
    target = _absolute(path)
    if not _exists(target) and _exists(_retired(target)) and _retired(target).is_dir():
        with Lock(target):
            if not _exists(target):
                _retired(target).rename(target)


def _recover(target: Path, kind: FolderKind) -> None:
    """Undo what killed writers left. Only under the lock."""
    retired = _retired(target)
    if retired.is_dir() and (not target.is_dir() or not any(target.iterdir())):
        retired.rename(target)
    elif retired.is_dir() and not _foreign_content(retired, kind):
        shutil.rmtree(retired, ignore_errors=True)
    for leftover in temporaries(target):
        shutil.rmtree(leftover, ignore_errors=True)


def _put_in_place(temporary: Path, target: Path) -> None:
    """Rename, over what is there. Linux exchanges the two in one step; elsewhere a kill may come between two renames,
    and the next start puts back what was moved aside."""
    if not target.is_dir() or not any(target.iterdir()):
        temporary.rename(target)  # over an empty folder, too
    elif not _exchange(temporary, target):
        retired = _retired(target)
        target.rename(retired)
        temporary.rename(target)
        shutil.rmtree(retired, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    return rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), ctypes.c_uint(_EXCHANGE)) == 0


def _retired(target: Path) -> Path:
    return target.with_name(f".{target.name}.ctrlg-old")


def _absolute(path: str | Path) -> Path:
    """Without "." and "..", with the links above the folder followed; the folder itself may be a link."""
    path = nameable(path)
    if path.name in ("", ".."):
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent)) / path.name


def _exists(path: Path) -> bool:
    """Whether something has this name, a broken link included."""
    try:
        return os.path.lexists(path)
    except ValueError:  # a name with a null character
        return False


def _is_inside(inner: Path, outer: Path) -> bool:
    """Whether `inner` is `outer` or lies below it, however both are spelled."""
    if not outer.exists():
        return False
    resolved = Path(os.path.realpath(inner))
    return any(above.exists() and above.samefile(outer) for above in (resolved, *resolved.parents))


def _unreplaceable(target: Path) -> str | None:
    if target.is_symlink():
        return f"is a symbolic link, to {os.path.realpath(target)}"
    if _exists(target) and not target.is_dir():
        return "is no folder"
    if target.is_dir():
        if target.is_mount():
            return "is a mount point, which cannot be replaced"
        if _is_inside(Path.cwd(), target):
            return "is the working directory, or holds it"
    return None


def _foreign_content(folder: Path, kind: FolderKind) -> str | None:
    """What is in the folder that is not ours, for a message; None where it may be replaced."""
    if not _exists(folder):
        return None
    if problem := _unreplaceable(folder):
        return problem
    try:
        entries = _entries(folder)
    except OSError as error:
        return f"cannot be read: {error}"
    if not entries:
        return None
    manifest = _manifest(folder)
    if manifest is None:
        names = [name for name in entries if not any(fnmatch(name, pattern) for pattern in kind.files)]
        if not names and all(_is_regular(entry) for entry in entries.values()) and kind.is_earlier(folder):
            return None
        return f"holds what was not written here: {', '.join(names or entries)}"[:300]
    if manifest["kind"] != kind.name:
        return f"holds {manifest['kind']}, not {kind.name}"
    known = manifest["files"]
    folders = {above.as_posix() for name in known for above in Path(name).parents}
    for name, entry in entries.items():
        if name == MANIFEST or (name in folders and entry.is_dir() and not entry.is_symlink()):
            continue
        if name not in known:
            return f"holds what was not written here: {name}"
        if not _is_regular(entry) or entry.stat().st_size != known[name]["bytes"] or _description(entry) != known[name]:
            return f"holds a file that was changed since it was written: {name}"
    return None


def _entries(folder: Path) -> dict[str, Path]:
    """Everything below a folder by its name in there; links are not followed."""

    def refuse(error: OSError) -> None:
        raise error

    paths = [
        Path(above, name) for above, folders, files in os.walk(folder, onerror=refuse) for name in (*folders, *files)
    ]
    return {path.relative_to(folder).as_posix(): path for path in sorted(paths)}


def _is_regular(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The list of files, None where there is none that can be understood."""
    file = folder / MANIFEST
    try:
        if not _is_regular(file):
            return None
        content = json.loads(file.read_text(encoding="utf-8"))
        known = [{"bytes": int(of["bytes"]), "sha256": str(of["sha256"])} for of in content["files"].values()]
        return {"kind": str(content["kind"]), "files": dict(zip(content["files"], known, strict=True))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _write_manifest(folder: Path, kind: FolderKind) -> None:
    files = {name: _description(entry) for name, entry in _entries(folder).items() if not entry.is_dir()}
    manifest = folder / MANIFEST
    manifest.write_text(json_text({"kind": kind.name, "files": files}, indent=2) + "\n", encoding="utf-8")


def _description(file: Path) -> dict[str, Any]:
    """Size and digest of a file."""
    return {"bytes": file.stat().st_size, "sha256": sha256(file)}


def _settle_modes(temporary: Path, target: Path) -> None:
    """Give files the mode of those they replace, and new ones what the process's umask allows: libraries choose modes
    of their own. The temporary folder was made under that umask, which cannot be asked for without changing it."""
    allowed = stat.S_IMODE(temporary.stat().st_mode)
    for name, entry in _entries(temporary).items():
        earlier = target / name
        if earlier.exists():
            entry.chmod(stat.S_IMODE(earlier.stat().st_mode))
        else:
            entry.chmod(allowed if entry.is_dir() else allowed & 0o666)
    if target.is_dir():
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))


def _synchronise_all(folder: Path) -> None:
    for entry in _entries(folder).values():
        synchronise(entry)
    synchronise(folder)


def _hmm_config(folder: Path) -> dict[str, Any]:
    """config.json of an HMM, of Ctrl-G's too; empty where there is none."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) and {"hidden_states", "vocab_size", "eos_token_id"} <= set(config) else {}


def _has_hmm_config(folder: Path) -> bool:
    """Whether config.json and README.md are as an HMM of ours was saved."""
    card = folder / "README.md"
    try:
        if card.exists() and "model_hub_mixin" not in card.read_text(encoding="utf-8"):
            return False
    except (OSError, ValueError):
        return False
    return "fingerprint" in _hmm_config(folder)


def _is_beside_a_run(folder: Path) -> bool:
    """Whether the state of a run of domain adaptation lies beside the folder."""
    return (folder.parent / "resume.safetensors").is_file()


_MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template.jinja",
)
HMM_FOLDER = FolderKind("an HMM", ("config.json", "model.safetensors", "README.md"), _has_hmm_config)
MODEL_FOLDER = FolderKind("a language model", _MODEL_FILES, _is_beside_a_run)
TWEAKED_FOLDER = FolderKind(
    "a tweaked language model",
    (*_MODEL_FILES, "norm_tweaking.json"),
    lambda folder: (folder / "norm_tweaking.json").is_file(),
)
ADAPTER_FOLDER = FolderKind("an adapter", ("adapter_config.json", "adapter_model.safetensors"), _is_beside_a_run)
