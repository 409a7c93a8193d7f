"""Files of JSON lines that jobs go on from."""

from __future__ import annotations

from pathlib import Path

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
