"""What every writer shares: temporary names, the rights of new files, writes that survive a crash, and full disks.

A temporary of `PATH/NAME` is called `PATH/.NAME.ctrlg-XXXXXXXX`, so that what a killed process left is recognised.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ctrlg.arguments import nameable
from ctrlg.errors import ArgumentError, CtrlGError, DataError

_DISK_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
TEMPORARY_BYTES = len("..ctrlg-XXXXXXXX")  # that `temporary_name` adds
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.ctrlg-[0-9a-f]{8}")
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")  # how safetensors and tokenizers tell of an errno


@contextmanager
def saving(path: str | Path) -> Iterator[None]:
    """Turn the errors of a disk that is full or fails into a DataError that names `path`."""
    try:
        yield
    except CtrlGError:
        raise
    except Exception as error:
        if reason := disk_failure(error):
            raise DataError(
                f"cannot write {path}: {reason}",
                hint="make room or choose another output; what was there before is still there",
            ) from error
        raise


def disk_failure(error: BaseException) -> str | None:
    """ "no space left on device" and the like where the disk is to blame, else None."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (match := _RUST_ERROR.search(str(error))):
        number = int(match[1])
    return os.strerror(number).lower() if number in _DISK_FAILURES else None


def writable_folder(folder: str | Path) -> Path:
    """The folder, made if need be. Raises ArgumentError where it cannot be written."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"cannot make the folder {folder}: {error}", hint="choose another output") from error
    try:
        with tempfile.TemporaryFile(dir=folder):  # permissions alone do not say: file systems may be read-only
            return folder
    except OSError as error:
        raise ArgumentError(
            f"cannot write to {folder}: {error}", hint="choose another output, or change its permissions"
        ) from error


def writable_file(path: str | Path) -> Path:
    """Where a file of this name is to be written: the target of a symbolic link, else `path` itself.

    Raises ArgumentError for a name that is too long, where the folder cannot be written, and where something stands
    there that is no regular file or may not be written.
    """
    path = nameable(path, TEMPORARY_BYTES)
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    writable_folder(target.parent)
    if target.is_symlink() or (target.exists() and not target.is_file()):
        what = "a folder" if target.is_dir() else "no regular file"
        raise ArgumentError(f"{path} is {what}", hint="name a file to write")
    if target.exists() and not target.stat().st_mode & 0o222:
        raise ArgumentError(f"{path} is write-protected", hint="choose another name, or change its permissions")
    return target


def temporary_name(path: Path) -> Path:
    """A new name beside `path`."""
    return path.with_name(f".{path.name}.ctrlg-{secrets.token_hex(4)}")


def temporaries(path: Path) -> list[Path]:
    """What stands beside `path` under names of `temporary_name`."""
    if not path.parent.is_dir():
        return []
    with os.scandir(path.parent) as entries:
        return sorted(Path(entry.path) for entry in entries if temporary_of(entry.name) == path.name)


def temporary_of(name: str) -> str | None:
    """The name that a temporary was made for; None for other names."""
    match = _TEMPORARY.fullmatch(name)
    return match["name"] if match else None


def sha256(file: Path) -> str:
    """Digest of a file's content."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def synchronise(path: Path) -> None:
    """Make sure that a file, or the names in a folder, are on the disk and not only in memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems that cannot
            raise
    finally:
        os.close(handle)
