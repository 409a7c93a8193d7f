"""The results file: Norm-Q's list made of JSON lines, taken up again, and what is not ours left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ctrlg.errors import ArgumentError
from ctrlg.evaluation.output import open_lines, working_file, write_list
from ctrlg.evaluation.results import read_records, read_results

SETTINGS = {"hmm": "0" * 64, "beams": 4}


def line(method: str, number: int, **more: Any) -> dict[str, Any]:
    key = {"method": method, "bits": 8, "mask": "hard", "seed": 0, "concept_set_idx": number}
    return {**key, "concepts": ["dog"], "sentences": [f"A dog, {number}.", "Dogs."], **more}


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["method"], record["bits"], record["mask"], record["seed"], record["concept_set_idx"]


def write(path: Path, *records: dict[str, Any]) -> None:
    lines = open_lines(path, SETTINGS)
    for record in records:
        lines.add(key(record), record)
    write_list(path, lines)


def test_a_list_is_ordered_by_concept_set_within_each_method(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.json"
    write(path, line("norm-q", 3), line("norm-q", 1))
    write(path, line("float32", 2), line("norm-q", 2))
    found = json.loads(path.read_text())
    order = [("norm-q", 1), ("norm-q", 2), ("norm-q", 3), ("float32", 2)]
    assert [(each["method"], each["concept_set_idx"]) for each in found] == order
    assert found[0]["sentences"] == ["A dog, 1.", "Dogs."]
    assert working_file(path) == path.with_suffix(".jsonl")
    assert sorted(map(key, read_records(path))) == sorted(map(key, read_records(working_file(path))))  # type: ignore[arg-type]
    assert read_results(path)[0].sentences == ("A dog, 1.", "Dogs.")


def test_other_names_are_json_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "result.jsonl"
    write(path, line("norm-q", 3))
    assert working_file(path) == path and json.loads(path.read_text())["concept_set_idx"] == 3
    assert [file.name for file in tmp_path.iterdir()] == ["result.jsonl"]


@pytest.mark.parametrize("as_list", [True, False])
def test_what_an_earlier_version_left_is_taken_up(tmp_path: Path, as_list: bool) -> None:
    """Earlier versions wrote JSON lines whatever the name was, and no settings; a list may have lost its lines."""
    path = tmp_path / "result.json"
    earlier = [line("norm-q", 1), line("norm-q", 2)]
    path.write_text(json.dumps(earlier) if as_list else "\n".join(map(json.dumps, earlier)) + "\n")
    write(path, line("norm-q", 4, settings=SETTINGS))
    assert [each["concept_set_idx"] for each in json.loads(path.read_text())] == [1, 2, 4]
    assert len(open_lines(path, SETTINGS).lines) == 3


@pytest.mark.parametrize(
    "content", ["", "[]", "notes", '{"a": 1}', '[{"concept_set_idx": 0, "concepts": ["dog"], "sentences": ["A dog."]}]']
)
def test_somebody_elses_file_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(ArgumentError, match="is no results file of the benchmark"):
        open_lines(path, SETTINGS)
    assert path.read_text() == content and [file.name for file in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("name", ["result.json", "result.jsonl"])
def test_other_settings_are_not_mixed_in(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, line("norm-q", 1, settings=SETTINGS))
    with pytest.raises(ArgumentError, match="beams was 4 and is 16") as caught:
        open_lines(tmp_path / name, SETTINGS | {"beams": 16})
    assert "--output" in caught.value.hint
    with pytest.raises(ArgumentError, match=r"hmm was 0{8}\.\.\. and is 1{8}"):
        open_lines(tmp_path / name, SETTINGS | {"hmm": "1" * 64})
