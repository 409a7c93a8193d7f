"""Lines of a study: told apart by their columns, kept over starts, foreign files refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctrlg.errors import DataError
from ctrlg.studies import StudyLines, markdown_rows, mean_and_deviation


def test_what_was_measured_is_known_at_the_next_start(tmp_path: Path) -> None:
    first = StudyLines(tmp_path / "deep" / "study.jsonl", ("source", "seed"))
    assert first.add(("read", 1), {"test": -5.5}) == {"source": "read", "seed": 1, "test": -5.5}
    with (tmp_path / "deep" / "study.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"source": "read", "see')  # a kill in the middle of a line
    again = StudyLines(tmp_path / "deep" / "study.jsonl", ("source", "seed"))
    assert ("read", 1) in again
    assert ("read", 2) not in again
    again.add(("read", 2), {"test": -5.4})
    assert [line["test"] for line in StudyLines(again.path, again.names).lines] == [-5.5, -5.4]


def test_lines_of_another_study_are_refused(tmp_path: Path) -> None:
    StudyLines(tmp_path / "study.jsonl", ("pair",)).add(("before",), {})
    with pytest.raises(DataError, match="line 1, lacks 'states'"):
        StudyLines(tmp_path / "study.jsonl", ("states", "pair"))


def test_tables_show_means_and_their_spread() -> None:
    assert mean_and_deviation([1.0, 2.0, 3.0]) == "2.000 ± 1.000"
    assert mean_and_deviation([1.25], 1) == "1.2"
    assert markdown_rows([["a", "b"], [1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |"
