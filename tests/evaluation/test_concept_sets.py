"""Reading concept sets, and the constraints they make."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation.columns import concepts_of
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.results import read_results

ROWS = [
    {"concept_set_idx": 1, "concepts": ["dog", "run"], "target": "A dog's running, you see."},
    {"concept_set_idx": 2, "concepts": ["café"], "target": 'Un "café".'},
    {"concept_set_idx": 1, "concepts": ["dog", "run"], "target": "Dogs run."},
    {"concept_set_idx": 3, "concepts": ["snow"], "target": ""},
]
SETS = [
    ConceptSet(1, ("dog", "run"), ("A dog's running, you see.", "Dogs run.")),
    ConceptSet(2, ("café",), ('Un "café".',)),
    ConceptSet(3, ("snow",), ()),
]


def line(index: int) -> str:
    return json.dumps({"concept_set_idx": index, "concepts": ["dog", "run"], "references": [f"Dog {index} runs."]})


def test_sets_are_spread_evenly(tmp_path: Path) -> None:
    file = tmp_path / "sets.jsonl"
    file.write_text("\n".join(map(line, range(10))) + "\n\n")
    assert [concept_set.number for concept_set in read_concept_sets(file, 4)] == [0, 2, 5, 7]
    assert [concept_set.number for concept_set in read_concept_sets(file, 99)] == list(range(10))
    assert read_concept_sets(file)[3] == ConceptSet(3, ("dog", "run"), ("Dog 3 runs.",))


def test_rows_of_one_reference_each_are_joined(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    assert read_concept_sets(tmp_path / "rows.jsonl") == SETS
    assert read_concept_sets(tmp_path / "rows.jsonl", 2) == [SETS[0], SETS[1]]


def test_json_and_csv_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    assert read_concept_sets(tmp_path / "rows.json") == SETS
    (tmp_path / "sets.json").write_text(f"[{line(4)}, {line(4)}]")
    assert read_concept_sets(tmp_path / "sets.json") == [ConceptSet(4, ("dog", "run"), ("Dog 4 runs.",))] * 2
    for written in ("{}", "['{}']", '["{}"]'):
        with (tmp_path / "rows.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, list(ROWS[0]))
            table.writeheader()
            separator = {"{}": "#", "['{}']": "' '", '["{}"]': '", "'}[written]
            table.writerows(row | {"concepts": written.format(separator.join(row["concepts"]))} for row in ROWS)
        assert read_concept_sets(tmp_path / "rows.csv") == SETS


def test_names_are_looked_for_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    asked = []

    def load(name: str, split: str) -> Any:
        asked.append((name, split))
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert read_concept_sets("allenai/common_gen", split="test") == SETS
    assert asked == [("allenai/common_gen", "test")]

    def fail(name: str, split: str) -> Any:
        raise ConnectionError("unreachable")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match=r"no file allenai/common_gen, and no data set.*unreachable"):
        read_concept_sets("allenai/common_gen")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.json", "[{", "rows.json is not JSON"),
        ("rows.json", "[]", "is empty"),
        ("rows.csv", "", "is empty"),
        ("rows.csv", "concept_set_idx,concepts,references\n1,dog,A dog.\n", "line 2: references is no list"),
        ("rows.csv", "concept_set_idx,concepts\n1,dog\n", "line 2 has no column 'references'"),
        ("rows.csv", "concept_set_idx,concepts,target\none,dog,A dog.\n", "concept_set_idx is 'one'"),
        ("rows.csv", "concept_set_idx,concepts,target\n1,ice cream, dog,A dog.\n", "line 2 has more cells"),
        ("rows.csv", "concept_set_idx,concepts,target\n1,dog\n", "line 2 has fewer cells"),
        ("rows.csv", "concept_set_idx,concepts,target\n1,ice cream,A dog.\n", "line 2: concepts .* one concept, or 2"),
        ("rows.csv", 'concept_set_idx,concepts,target\n1,"dog"s,A dog.\n', "line 2 is not CSV"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_concept_sets(tmp_path / name)


def test_the_constraint_is_every_concept_in_some_form_and_a_number_of_words() -> None:
    constraint = ConceptSet(0, ("dog", "run"), ()).constraint(3, 5)
    assert constraint.holds("Two dogs ran.") and constraint.holds("The dog is running away.")
    assert not constraint.holds("Two dogs walked.") and not constraint.holds("Dogs run.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("{", "line 1 is not JSON"),
        ('{"concept_set_idx": 1, "concepts": []}', "line 1 has no column 'references'"),
        ("[]", "line 1 has no column 'concept_set_idx'"),
        ('{"concept_set_idx": 1, "concepts": [], "references": []}', "line 1: concepts is .*there is none"),
        ('{"concept_set_idx": 1, "concepts": ["dog", " "], "references": []}', "line 1: concepts is"),
        (
            '{"concept_set_idx": 1, "concepts": ["dog"], "references": ["A dog.", " "]}',
            "line 1: references holds an em",
        ),
        (
            '{"concept_set_idx": 1, "concepts": ["dog"], "target": "\\ud83d dog"}',
            "line 1: references holds half of a ch",
        ),
        (
            '{"concept_set_idx": 1, "concepts": ["dog"], "references": ["A dog."]}\n'
            '{"concept_set_idx": 1, "concepts": ["cat"], "references": ["A cat."]}',
            "line 2: concept set 1 is cat here and dog above",
        ),
        ('{"concept_set_idx": 1, "concepts": [["dog"]], "references": []}', "line 1: concepts is no list of texts"),
        ('{"concept_set_idx": 1, "concepts": null, "references": []}', "line 1: concepts is no list of texts"),
        ('{"concept_set_idx": 1, "concepts": ["dog"], "references": [null]}', "line 1: references is no list"),
        ('{"concept_set_idx": 1, "concepts": "dog run", "references": []}', "line 1: concepts .* one concept, or 2"),
        *(
            (f'{{"concept_set_idx": {number}, "concepts": ["dog"], "references": []}}', "line 1: concept_set_idx is")
            for number in ("null", '"first"', "Infinity", "-Infinity", "NaN", "1.5", "true", "[1]", "1e999")
        ),
        (
            '\n{"concept_set_idx": 1, "concepts": ["dog"], "target": "A dog."}\n'
            '{"concept_set_idx": 1, "concepts": ["cat"], "target": "A cat."}',
            "line 3: concept set 1 is cat here and dog above",
        ),
        ("[" * 100_000, "line 1 is not JSON"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "sets.jsonl"
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        read_concept_sets(file)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_and_separators_within_texts_do_no_harm(encoding: str, end: str, tmp_path: Path) -> None:
    reference = "A dog\u2028runs,\u0085fast\x1c."
    record = {"concept_set_idx": 7, "concepts": ["dog", "run"], "references": [reference]}
    lines = [json.dumps(record, ensure_ascii=False).replace("\\u001c", "\\u001c")] * 2
    wanted = [ConceptSet(7, ("dog", "run"), (reference,))] * 2
    for name, content in (("sets.jsonl", end.join(lines)), ("sets.json", f"[{','.join(lines)}]")):
        (tmp_path / name).write_bytes(content.encode(encoding))
        assert read_concept_sets(tmp_path / name) == wanted
    rows = [["concept_set_idx", "concepts", "target"], ["7", "dog#run", reference]]
    table = end.join(",".join(f'"{cell}"' for cell in row) for row in rows)
    (tmp_path / "sets.csv").write_bytes(table.encode(encoding))
    assert read_concept_sets(tmp_path / "sets.csv") == wanted[:1]


@pytest.mark.parametrize(
    ("written", "concepts"),
    [
        ("dog#run", ("dog", "run")),
        ("dog # run#ice cream", ("dog", "run", "ice cream")),
        ("ice cream, dog", ("ice cream", "dog")),
        ("dog;run | park", ("dog", "run", "park")),
        ("c#, java", ("c#", "java")),
        ("['ice cream' 'dog']", ("ice cream", "dog")),
        ("['dog', \"mother's\"]", ("dog", "mother's")),
        ('["ice cream", "dog"]', ("ice cream", "dog")),
        ("[dog, run]", ("dog", "run")),
        ("null", ("null",)),
        (["dog#run"], ("dog", "run")),
        (["Dog", "run", "dog", "run "], ("Dog", "run")),
        (["ice  cream"], ("ice cream",)),
        (["собака#海"], ("собака", "海")),
    ],
)
def test_concepts_as_they_are_written(written: Any, concepts: tuple[str, ...], tmp_path: Path) -> None:
    assert concepts_of(written, "here") == concepts
    record = {"concept_set_idx": "1", "concepts": written, "target": "A dog."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(record))
    assert read_concept_sets(tmp_path / "rows.jsonl") == [ConceptSet(1, concepts, ("A dog.",))]
    (tmp_path / "results.jsonl").write_text(json.dumps(record | {"sentence": "A dog."}))
    assert read_results(tmp_path / "results.jsonl")[0].concepts == concepts


def test_missing_files_and_counts_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data file"):
        read_concept_sets(tmp_path / "none.jsonl")
    with pytest.raises(ArgumentError, match="0 concept sets"):
        read_concept_sets(tmp_path / "none.jsonl", 0)
