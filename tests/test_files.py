"""Files of JSON lines that jobs go on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctrlg.errors import DataError
from ctrlg.files import append_line, read_lines


def test_records_come_back_and_a_cut_off_line_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    assert read_lines(file) == []
    for number in range(3):
        append_line(file, {"number": number, "text": "café\n"})
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"number": 3, "te')
    assert [record["number"] for record in read_lines(file)] == [0, 1, 2]
    assert file.read_bytes() == whole
    append_line(file, {"number": 3})
    assert [record["number"] for record in read_lines(file)] == [0, 1, 2, 3]
    file.write_bytes(file.read_bytes() + '{"text": "é'.encode()[:-1])  # in the middle of a character
    assert len(read_lines(file)) == 4


@pytest.mark.parametrize("content", ["# A title\n", "a,b\n1,2\n", "[1, 2]\n", '{"a": 1}\nno record', "\u00e9\n"])
def test_other_files_are_refused_and_left_alone(content: str, tmp_path: Path) -> None:
    file = tmp_path / "other"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match="other"):
        read_lines(file)
    assert file.read_text(encoding="latin-1") == content
