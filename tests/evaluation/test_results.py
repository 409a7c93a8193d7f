"""Reading files of written sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ctrlg.errors import DataError
from ctrlg.evaluation.results import Written, read_results

RECORDS = [
    {"concept_set_idx": 3, "concepts": ["dog", "run"], "sentences": ["A dog runs.", "Dogs run."]},
    {"concept_set_idx": 4, "concepts": ["café"], "sentences": []},
]


def test_lists_and_lines_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps(RECORDS, indent=1))
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, RECORDS)) + "\n\n")
    expected = [Written(3, ("dog", "run"), ("A dog runs.", "Dogs run.")), Written(4, ("café",), ())]
    assert read_results(tmp_path / "list.json") == read_results(tmp_path / "lines.jsonl") == expected


def test_a_single_sentence_may_stand_alone(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"concept_set_idx": 1, "concepts": ["dog"], "sentence": "A dog."}')
    assert read_results(tmp_path / "one.jsonl") == [Written(1, ("dog",), ("A dog.",))]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no results"),
        ("[]", "holds no results"),
        ("[{]", "is not JSON"),
        ('{"concept_set_idx": 1}\n{', "line 2 is not JSON"),
        ('{"concept_set_idx": 1, "sentences": []}', "line 1 has no column 'concepts'"),
        ('[{"concept_set_idx": 1, "concepts": []}]', "record 1 has no column 'sentences'"),
        ('{"concept_set_idx": 1, "concepts": [], "sentences": [3]}', "'sentences' holds no text"),
        ('{"concept_set_idx": 1, "concepts": ["dog"], "sentence": "\\ud83d"}', "sentences holds half of a character"),
        ("[[1]]", "record 1 is a list"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "results"
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        read_results(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data file"):
        read_results(tmp_path / "none.json")
    (tmp_path / "none.jsonl").touch()
    with pytest.raises(DataError, match="no such data file") as caught:
        read_results(tmp_path / "none.json")
    assert "none.jsonl" in caught.value.hint
