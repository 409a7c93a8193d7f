"""Writing that never leaves half a file: write beside the target, then rename over it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors.torch import save_file
from torch import Tensor

from ctrlg.errors import ArgumentError, CheckpointError, DataError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A temporary file in the target's folder, renamed to `path` when the block ends without an error.

    Raises ArgumentError where the folder cannot be written.
    """
    path = Path(path)
    folder = writable_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends without an error."""
    path = Path(path)
    parent = writable_folder(path.parent)
    temporary = Path(tempfile.mkdtemp(dir=parent, prefix=f".{path.name}."))
    temporary.chmod(0o755)
    try:
        yield temporary
        retired = temporary.with_name(temporary.name + ".old")
        if path.exists():
            path.rename(retired)
        temporary.rename(path)
        shutil.rmtree(retired, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def writable_folder(folder: str | Path) -> Path:
    """The folder, made if need be. Raises ArgumentError where it cannot be written."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"cannot make the folder {folder}: {error}", hint="choose another output") from error
    try:
        with tempfile.TemporaryFile(dir=folder):  # permissions alone do not say: file systems may be read-only
            return folder
    except OSError as error:
        raise ArgumentError(
            f"cannot write to {folder}: {error}", hint="choose another output, or change its permissions"
        ) from error


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def append_line(path: str | Path, record: Mapping[str, Any]) -> None:
    """Add a record to a file of JSON lines."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """The records that `append_line` left; none where there is no file. A line that a kill cut off is removed from it,
    so that a job goes on from the last whole record. Raises DataError for other files, which stay as they are."""
    path = Path(path)
    if not path.is_file():
        return []
    content = path.read_bytes()
    lines = content.split(b"\n")
    cut_off = lines.pop()
    records = [_record(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    if cut_off:
        if not cut_off.startswith(b"{"):
            raise DataError(f"{path} does not end in a record", hint="is this another kind of file?")
        with atomic_file(path) as temporary:
            temporary.write_bytes(content[: -len(cut_off)])
    return records


def _record(line: bytes, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:  # of JSON and of UTF-8
        raise DataError(f"{place}, is no JSON: {error}", hint="is this another kind of file?") from error
    if not isinstance(record, dict):
        raise DataError(f"{place}, is no JSON object", hint="is this another kind of file?")
    return record


def write_lines(path: str | Path, content: str) -> None:
    """Write a text and the end of its last line, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(content + "\n", encoding="utf-8")


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, atomically."""
    with atomic_file(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata=metadata)


def fetch_checkpoint(name: str | Path, options: Mapping[str, Any] | None = None) -> Path:
    """The folder of a checkpoint: `name` itself where it is a folder, else the hub's snapshot of it.

    options: `revision`, `cache_dir`, `force_download`, `token`, `local_files_only` of huggingface_hub.
    Raises CheckpointError where neither exists.
    """
    from huggingface_hub import snapshot_download

    if Path(name).is_dir():
        return Path(name)
    known = ("revision", "cache_dir", "force_download", "token", "local_files_only")
    arguments = {key: value for key, value in (options or {}).items() if key in known and value is not None}
    try:
        return Path(snapshot_download(str(name), allow_patterns=["*.json", "*.safetensors", "*.md"], **arguments))
    except HFValidationError as error:  # a path, not the name of a repository
        raise CheckpointError(f"no checkpoint folder {str(name)!r}", hint="check the path") from error
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise CheckpointError(
            f"no checkpoint {str(name)!r}: neither a folder nor a repository that can be fetched ({error})",
            hint="check the path, or the name and the connection",
        ) from error
