"""Java found, asked and run: what is missing, broken, slow or fails ends in an error, and leaves no process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.fake_java import put_java

from ctrlg.errors import ArgumentError, ProcessError
from ctrlg.evaluation.metrics import java
from ctrlg.evaluation.metrics.java import find_java, run_jar


@pytest.mark.parametrize(("shown", "version"), [("1.8.0_402", 8), ("11.0.2", 11), ("17.0.15", 17), ("25", 25)])
def test_versions_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str, version: int) -> None:
    program = put_java(tmp_path, monkeypatch, shown)
    assert find_java() == (str(program), version)


def test_no_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArgumentError, match="no java"):
        find_java()


def test_a_broken_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = put_java(tmp_path, monkeypatch, "17")
    program.write_text("#!/bin/sh\necho 'no libjvm.so' >&2\nexit 1\n")
    with pytest.raises(ArgumentError, match=r"broken: no libjvm\.so"):
        find_java()
    program.write_text("not a program")
    with pytest.raises(ArgumentError, match="does not start"):
        find_java()


def test_a_java_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_java(tmp_path, monkeypatch, "17", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    monkeypatch.setattr(java, "_RUN_SECONDS", 1)
    with pytest.raises(ProcessError, match=r"some\.jar did not run"):
        run_jar(find_java(), tmp_path / "some.jar", "1G", [])
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_jar_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_java(tmp_path, monkeypatch, "17", "echo 'OutOfMemoryError: heap' >&2; printf '\\tat Some.main' >&2; exit 3")
    with pytest.raises(ProcessError, match="code 3: OutOfMemoryError: heap") as caught:
        run_jar(find_java(), tmp_path / "some.jar", "1G", [])
    assert "1G" in caught.value.hint


def test_text_goes_through_as_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_java(tmp_path, monkeypatch, "17", "cat")
    monkeypatch.setenv("LC_ALL", "C")
    assert run_jar(find_java(), tmp_path / "some.jar", "1G", [], "café 句子\n") == "café 句子\n"
