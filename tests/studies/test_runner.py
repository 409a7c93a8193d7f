"""Lines of a study: told apart by their columns, kept over starts, foreign files refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.records import StudyLines, markdown_rows, mean_and_deviation, read_study


def test_what_was_measured_is_known_at_the_next_start(tmp_path: Path) -> None:
    first = StudyLines(tmp_path / "deep" / "study.jsonl", ("source", "seed"))
    assert first.add(("read", 1), {"test": -5.5}) == {"source": "read", "seed": 1, "test": -5.5}
    with pytest.raises(ArgumentError, match="another process"):
        StudyLines(first.path, first.names)
    first.close()
    with (tmp_path / "deep" / "study.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"source": "read", "see')  # a kill in the middle of a line
    again = StudyLines(tmp_path / "deep" / "study.jsonl", ("source", "seed"))
    assert ("read", 1) in again
    assert ("read", 2) not in again
    again.add(("read", 2), {"test": -5.4})
    assert [line["test"] for line in read_study(again.path, again.names)] == [-5.5, -5.4]


def test_lines_of_another_study_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.jsonl"
    with StudyLines(file, ("pair",)) as lines:
        lines.add(("before",), {})
    file.write_text(file.read_text() + '{"pair": "the last one has no end of')
    before = file.read_bytes()
    with pytest.raises(DataError, match="line 1, lacks 'states'"):
        StudyLines(file, ("states", "pair"))
    assert file.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.jsonl"]


def test_a_folder_is_no_file_of_lines(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="is a folder"):
        StudyLines(tmp_path, ("pair",))


def test_tables_show_means_and_their_spread() -> None:
    assert mean_and_deviation([1.0, 2.0, 3.0]) == "2.000 ± 1.000"
    assert mean_and_deviation([1.25], 1) == "1.2"
    assert markdown_rows([["a", "b"], [1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |"
