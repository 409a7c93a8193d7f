"""Locks that keep two processes from one job. They go with the process that holds them, however it ends."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from ctrlg.errors import ArgumentError
from ctrlg.files.disk import writable_folder


class Lock:
    """Keeps everybody else, threads of this process included, from writing `path`, until it is closed.

    path: what is written; the lock is the file `.NAME.ctrlg-lock` beside it. doing: for messages, "training in runs".
    name: of another lock for the same path, as of a job that writes it several times, where each write has its own.
    wait: for another process to close it.
    Raises ArgumentError, naming the other process, where another holds it and `wait` is False, and where no lock can be
    made.
    """

    def __init__(self, path: str | Path, doing: str = "", name: str = "lock", wait: bool = False) -> None:
        doing = doing or f"writing {path}"
        path = Path(os.path.realpath(path))  # one lock for all spellings
        writable_folder(path.parent)
        self._file = path.with_name(f".{path.name}.ctrlg-{name}")
        self._process = os.getpid()
        self._lock = FileLock(self._file, timeout=-1 if wait else 0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise ArgumentError(
                f"another process{_holder(self._file)} is {doing}",
                hint="wait for it or end it, or choose another output",
            ) from error
        except (OSError, NotImplementedError) as error:
            raise ArgumentError(
                f"cannot lock {path}: {error}", hint="choose an output on a file system that has locks"
            ) from error
        with suppress(OSError):  # only for the other's message
            self._file.write_text(f"{self._process}\n", encoding="ascii")

    def close(self) -> None:
        """Let others in. A second call does nothing."""
        if self._lock.is_locked and os.getpid() == self._process:  # not in a forked child, which holds nothing
            # Removed before it is released: who opened it meanwhile sees that it has no name any more, and tries again.
            self._file.unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            with suppress(Exception):
                self.close()


def _holder(file: Path) -> str:
    """ " (process 1234)" where the lock file says so."""
    try:
        number = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return f" (process {number})" if number.isdecimal() else ""
