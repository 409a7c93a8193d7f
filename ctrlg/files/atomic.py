"""Files that appear, and replace earlier ones, as a whole: written beside the target, then renamed over it.

Files of JSON lines, which jobs go on from, grow by whole lines; what a kill cut off is never taken for a record.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ctrlg.arguments import nameable
from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.disk import saving, synchronise, temporaries, temporary_name, writable_file
from ctrlg.files.disk import writable_folder as writable_folder
from ctrlg.files.json_text import json_text


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A temporary file in the target's folder, renamed to `path` when the block ends without an error.

    A new file has the rights that the process's umask allows, another keeps those of the file it replaces; where `path`
    is a symbolic link, the file it points to is replaced.
    Raises ArgumentError as `writable_file`, DataError for a full disk.
    """
    target = writable_file(path)
    with saving(path):
        for leftover in temporaries(target):
            _remove_if_dead(leftover)
        temporary, handle = _new_temporary(target)
        try:
            yield temporary
            temporary.chmod(stat.S_IMODE(target.stat().st_mode if target.exists() else os.fstat(handle).st_mode))
            synchronise(temporary)
            temporary.replace(target)
            synchronise(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)


def _new_temporary(target: Path) -> tuple[Path, int]:
    """A new file beside the target, and a handle that holds a lock on it as long as this process lives."""
    while True:
        temporary = temporary_name(target)
        try:
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
        except OSError as error:
            raise ArgumentError(f"cannot write {target}: {error}", hint="choose another output") from error
        with suppress(OSError):  # a file system without locks: nothing is taken for a leftover there
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else another process took it for a leftover before it was locked
            return temporary, handle
        os.close(handle)


def _remove_if_dead(leftover: Path) -> None:
    """Remove a temporary file, unless its writer lives: then it is locked."""
    try:
        handle = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        leftover.unlink(missing_ok=True)
    except OSError:
        pass
    finally:
        os.close(handle)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    write_lines(path, json_text(content, indent=2))


def append_line(path: str | Path, record: Mapping[str, Any]) -> None:
    """Add a record to a file of JSON lines; a last line that a kill has cut off makes room for it.

    Raises DataError for a full disk; the file is then as it was.
    """
    line = (json_text(record) + "\n").encode()
    with saving(path), nameable(path).open("a+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        start = _end_of_records(file, end)
        missing = b"\n" if start and os.pread(file.fileno(), 1, start - 1) != b"\n" else b""
        file.truncate(start)
        try:
            rest = memoryview(missing + line)
            while rest:
                rest = rest[file.write(rest) or 0 :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(start)
            raise


def _end_of_records(file: Any, end: int) -> int:
    """Where the last whole record ends; a record is whole without the end of its line, too."""
    if not end or os.pread(file.fileno(), 1, end - 1) == b"\n":
        return end
    file.seek(0)
    content = file.read(end)
    cut = content.rfind(b"\n") + 1
    return end if _is_record(content[cut:]) else cut


def read_lines(path: str | Path, first: str = "") -> list[dict[str, Any]]:
    """The records that `append_line` left; none where there is no file. The file stays as it is: a last line that a
    kill cut off is left out here, and removed by `append_line`.

    first: name with which every record begins, where that is known. Raises DataError for other files.
    """
    path = nameable(path)
    if not path.exists():
        return []
    if not path.is_file():
        raise DataError(f"{path} is no regular file", hint="name a file of JSON lines, or a new one")
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}", hint="check its permissions") from error
    if _is_record(last):
        lines.append(last)
    elif not _may_begin_record(last, first if not lines else ""):
        raise DataError(f"{path} does not end in a record", hint="is this another kind of file?")
    return [_record(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def _may_begin_record(cut_off: bytes, first: str) -> bool:
    start = f'{{"{first}'.encode()
    return cut_off.startswith(start[: len(cut_off)])


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _record(line: bytes, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # of JSON and of UTF-8
        raise DataError(f"{place}, is no JSON: {error}", hint="is this another kind of file?") from error
    if not isinstance(record, dict):
        raise DataError(f"{place}, is no JSON object", hint="is this another kind of file?")
    return record


def write_lines(path: str | Path, content: str) -> None:
    """Write a text and the end of its last line, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(f"{content}\n".encode("utf-8", errors="backslashreplace"))
