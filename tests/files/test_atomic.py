"""Files that are written whole, with the rights they should have, and the lines that jobs go on from."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.atomic import append_line, atomic_file, read_lines, write_json, write_lines
from ctrlg.files.disk import disk_failure, temporaries, temporary_name
from ctrlg.files.json_text import json_text
from ctrlg.files.tensors import write_tensors


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_records_come_back_and_a_cut_off_line_makes_room(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    assert read_lines(file) == []
    for number in range(3):
        append_line(file, {"number": number, "text": "café\n\u2028\u0085"})
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"number": 3, "te')
    assert [record["number"] for record in read_lines(file)] == [0, 1, 2]
    append_line(file, {"number": 3})
    assert file.read_bytes() == whole + b'{"number": 3}\n'
    file.write_bytes(file.read_bytes() + '{"text": "é'.encode()[:-1])  # in the middle of a character
    assert len(read_lines(file)) == 4


def test_a_last_record_without_the_end_of_its_line_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text('{"number": 1}')
    assert read_lines(file) == [{"number": 1}]
    append_line(file, {"number": 2})
    assert file.read_text() == '{"number": 1}\n{"number": 2}\n'


@pytest.mark.parametrize("content", ["# A title\n", "a,b\n1,2\n", "[1, 2]\n", '{"a": 1}\nno record', "\u00e9\n"])
def test_other_files_are_refused_and_left_alone(content: str, tmp_path: Path) -> None:
    file = tmp_path / "other"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match="other"):
        read_lines(file)
    assert file.read_text(encoding="latin-1") == content


def test_a_draft_in_braces_is_no_cut_off_record(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text('{"draft": of a letter')
    with pytest.raises(DataError, match="does not end in a record"):
        read_lines(tmp_path / "notes", "method")
    (tmp_path / "begun").write_text('{"meth')
    assert read_lines(tmp_path / "begun", "method") == []


def test_lines_of_a_folder_or_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(DataError, match="no regular file"):
            read_lines(path)


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_new_files_have_the_rights_that_the_umask_allows(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {})
        write_tensors(tmp_path / "b.safetensors", {"x": torch.zeros(2)})
        append_line(tmp_path / "c.jsonl", {})
    finally:
        os.umask(before)
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()} == {0o666 & ~mask}


def test_a_replaced_file_keeps_its_rights_and_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "a.txt"
    file.write_text("before")
    file.chmod(0o640)
    (tmp_path / "link").symlink_to(file)
    write_lines(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("after\n", 0o640)
    assert names(tmp_path / "deep") == ["a.txt"]


@pytest.mark.parametrize("name", ["n" * 5000, "n" * 250, "n" * 250 + "/file", "n/" * 3000])
def test_names_that_no_file_system_holds_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="too long") as caught:
        write_json(tmp_path / name, {})
    assert caught.value.hint and not list(tmp_path.iterdir())
    if len(name) > 1000:
        with pytest.raises(ArgumentError, match="too long"):
            read_lines(tmp_path / name)


def test_what_cannot_be_replaced_by_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "kept").chmod(0o444)
    for name in ("folder", "pipe", "loop", "kept", "n" * 250):
        before = names(tmp_path)
        with pytest.raises(ArgumentError, match=name):
            write_lines(tmp_path / name, "text")
        assert names(tmp_path) == before
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    write_lines(tmp_path / "a", "before")
    with pytest.raises(KeyError), atomic_file(tmp_path / "a") as file:
        file.write_text("half")
        raise KeyError
    assert (tmp_path / "a").read_text() == "before\n"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left"), SafetensorError("Error: I/O error: No space left (os error 28)")],
)
def test_a_full_disk_is_our_error(error: Exception, tmp_path: Path) -> None:
    write_lines(tmp_path / "a", "before")
    with (
        pytest.raises(DataError, match=r"cannot write .*a: no space left on device") as caught,
        atomic_file(tmp_path / "a") as file,
    ):
        file.write_text("half")
        raise error
    assert caught.value.hint
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "before\n"


def test_only_the_disk_is_blamed_on_the_disk() -> None:
    assert disk_failure(OSError(errno.EDQUOT, "")) == os.strerror(errno.EDQUOT).lower()
    for error in (FileNotFoundError(errno.ENOENT, ""), ValueError("28"), OSError("no number")):
        assert disk_failure(error) is None


LIMITED = """
import resource, sys
import torch
from pathlib import Path
from ctrlg.errors import DataError
from ctrlg.files.atomic import append_line, write_json
from ctrlg.files.tensors import write_tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
for write in (
    lambda: append_line(folder / "lines", {"text": "x" * 600}),
    lambda: write_json(folder / "json", ["x"] * 1000),
    lambda: write_tensors(folder / "tensors", {"x": torch.zeros(1000)}),
):
    try:
        write()
        print("written")
    except DataError as error:
        print(error.message.split(": ")[-1])
"""


def test_files_that_reach_their_limit_are_left_as_they_were(tmp_path: Path) -> None:
    append_line(tmp_path / "lines", {"text": "x" * 600})
    before = (tmp_path / "lines").read_bytes()
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["file too large"] * 3, done.stderr
    assert names(tmp_path) == ["lines"]
    assert (tmp_path / "lines").read_bytes() == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_temporaries_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    foreign = tmp_path / ".a.json.ctrlg-notes"
    foreign.write_text("mine")
    dead = temporary_name(tmp_path / "a.json")
    dead.write_text("half")
    with atomic_file(tmp_path / "a.json") as living:
        living.write_text("1")
        write_json(tmp_path / "a.json", 2)
        assert temporaries(tmp_path / "a.json") == [living]
    assert names(tmp_path) == [foreign.name, "a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == 1


def test_many_writers_of_one_file_leave_one_of_theirs(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for _ in range(20):
            write_json(tmp_path / "a.json", [number] * 1000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(json.loads((tmp_path / "a.json").read_text()))) == 1
    assert names(tmp_path) == ["a.json"]


def test_json_is_always_json() -> None:
    content = {"a": [math.nan, (math.inf, 1.5)], "b": "\ud800é", "c": -math.inf}

    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = json_text(content)
    assert json.loads(text, parse_constant=refuse) == {"a": [None, [None, 1.5]], "b": "\ud800é", "c": None}
    assert "é" in text.encode().decode()


def test_a_full_standard_output_ends_with_a_message(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    program = "from ctrlg.terminal.console import as_program\nwith as_program():\n    print('x' * 100)"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "no space left on device" in done.stderr and "Traceback" not in done.stderr
