"""Files of weights from strangers: claims are compared with the bytes, and nothing but regular files is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ctrlg.errors import CheckpointError
from ctrlg.files.tensors import load_tensors, read_json_object, regular_file, stored_tensors, whole_number


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.uint8)}, path, {"note": "x"})
    return path


def edit(path: Path, change: Callable[[dict], object]) -> None:
    """Change the header of a safetensors file, and leave the rest as it is."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def test_a_whole_file_is_described_and_read(file: Path) -> None:
    assert {name: (each.dtype, each.shape) for name, each in stored_tensors(file).items()} == {
        "a": ("F32", (2, 3)),
        "b": ("U8", (4,)),
    }
    assert torch.equal(load_tensors(file)["a"], torch.arange(6.0).view(2, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header["a"].update(dtype="F4"), "has the type 'F4'"),
        (lambda header: header["a"].update(dtype=None), "has the type None"),
        (lambda header: header["a"].update(shape=[2, 10**8]), "do not fit together"),
        (lambda header: header["a"].update(shape=[2, 1e30]), "has the shape"),
        (lambda header: header["a"].update(shape=[-2, -3]), "has the shape"),
        (lambda header: header["a"].update(shape=[True, 6]), "has the shape"),
        (lambda header: header["a"].update(data_offsets=[0]), "has the shape"),
        (lambda header: header["a"].update(data_offsets=[4, 28]), "do not fit together"),
        (lambda header: header.pop("b"), "its header describes"),
        (lambda header: header.update(a=5), "is described by 5"),
        (lambda header: header.update(__metadata__=[1]), "its header is no object"),
    ],
)
def test_headers_that_do_not_describe_the_file_are_refused(
    file: Path, change: Callable[[dict], object], message: str
) -> None:
    edit(file, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        stored_tensors(file)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated or no safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs pointer"),
        ((2**60).to_bytes(8, "little") + b"{}", "truncated or no safetensors"),
        ((4).to_bytes(8, "little") + b"null", "its header is no object"),
        ((3).to_bytes(8, "little") + b"{]}", "is no safetensors file"),
    ],
)
def test_other_files_are_refused(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_tensors(file)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("fifo", "device", "loop", ".", "gone"):
        with pytest.raises(CheckpointError):
            regular_file(tmp_path / name)
        with pytest.raises(CheckpointError):
            read_json_object(tmp_path / name)
        with pytest.raises(CheckpointError):
            stored_tensors(tmp_path / name)


@pytest.mark.parametrize("content", [b"[1]", b"", b'{"a": ', b"\xff\xfe{\x00}\x00", b'{"a":' * 100_000, b"5"])
def test_json_that_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_json_object(tmp_path / "config.json")
    assert caught.value.hint


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json_object(tmp_path / "config.json") == {"a": 1}


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, 11, 10**30, [1], float("nan")])
def test_numbers_that_are_not_whole_or_out_of_range(value: object) -> None:
    assert whole_number({"n": 1}, "n", 1, 10, "config.json") == 1
    with pytest.raises(CheckpointError, match=r"n in config\.json is"):
        whole_number({"n": value}, "n", 1, 10, "config.json")
