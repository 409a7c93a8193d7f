"""Data files that are read whatever their encoding says, or refused with file, line and reason."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from ctrlg.adaptation.sentences import read_sentences
from ctrlg.distillation.sampling.prompts import read_prompts
from ctrlg.errors import DataError
from ctrlg.evaluation.results import read_results
from ctrlg.evaluation.rows import read_rows
from ctrlg.files.reading import parse_json_lines, read_text

TEXT = "one\ntwo é\u2028\u0085three\n"
READERS = (read_text, read_sentences, read_prompts, read_results, read_rows)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le-bom", "utf-16-be-bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_is_read(encoding: str, end: str, tmp_path: Path) -> None:
    mark = "\ufeff" if encoding.endswith("-bom") else ""
    content = (mark + TEXT.replace("\n", end)).encode(encoding.removesuffix("-bom"))
    (tmp_path / "text").write_bytes(content)
    assert read_text(tmp_path / "text") == TEXT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\n\xff\xfetwo", "line 2, is no text in UTF-8: invalid start byte"),
        ("caf\u00e9".encode("latin-1"), "line 1, is no text in UTF-8"),
        (TEXT.encode("utf-16-le"), "line 2, "),
        ("plain".encode("utf-16-be"), "line 1, holds a null character"),
        (b"one\ntwo\0", "line 2, holds a null character"),
        (b"\xff\xfeodd", "is no text in UTF-16"),
        (gzip.compress(b"one"), "is no text"),
    ],
)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_text_is_refused_with_its_line(reader: object, content: bytes, message: str, tmp_path: Path) -> None:
    for name in ("data.jsonl", "data.json", "data.csv", "data.txt"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}.*{message}") as caught:
            reader(tmp_path / name)  # type: ignore[operator]
        assert caught.value.hint


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused(reader: object, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe.json", "folder.csv", "none.jsonl"):
        with pytest.raises(DataError, match=f"no such data file: .*{name}|{name} is no regular file") as caught:
            reader(tmp_path / name)  # type: ignore[operator]
        assert caught.value.hint


def test_lines_end_where_json_says(tmp_path: Path) -> None:
    lines = parse_json_lines('"a\u2028b"\n\n "c\u0085d"\r', "data", "one value a line")
    assert lines == [("data, line 1", "a\u2028b"), ("data, line 3", "c\u0085d")]
    for text in ("{", "[" * 100_000, "1" * 5000, "{}\u2028{}"):
        with pytest.raises(DataError, match="data, line 2 is not JSON"):
            parse_json_lines(f"1\n{text}", "data", "one value a line")
