"""Locks: one process at a time, gone with the process, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ctrlg.errors import ArgumentError
from ctrlg.files.locks import Lock

HOLD = """
import sys, time
from ctrlg.files.locks import Lock
lock = Lock(sys.argv[1], "drawing x")
print("held", flush=True)
time.sleep(600)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_named_and_its_death_opens_the_lock(tmp_path: Path) -> None:
    process = holder(tmp_path / "a")
    try:
        with pytest.raises(ArgumentError, match=rf"another process \(process {process.pid}\) is drawing b") as caught:
            Lock(tmp_path / "a", "drawing b")
        assert caught.value.hint
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with Lock(tmp_path / "a"):
        pass
    assert not list(tmp_path.iterdir())


def test_one_holder_whatever_the_spelling(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "deep")
    lock = Lock(tmp_path / "deep" / "a")
    for spelling in ("deep/a", "link/a", "deep/../deep/a"):
        with pytest.raises(ArgumentError, match="another process"):
            Lock(tmp_path / spelling)
    with Lock(tmp_path / "deep" / "a", name="job"):  # another lock for the same path
        pass
    lock.close()
    lock.close()
    with Lock(tmp_path / "link" / "a"):
        pass


def test_a_lock_that_is_forgotten_is_open(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "a")
    del lock
    Lock(tmp_path / "a").close()
