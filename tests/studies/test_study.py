"""The runner of all studies: what is measured, and when; flags; the list of studies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.training_runs import ROOT

from ctrlg.errors import ArgumentError, DataError
from ctrlg.figures import new_figure
from studies.__main__ import questions
from studies.shared.filler import IN_ANSWERS, IN_CAPTIONS, has_filler
from studies.shared.flags import StudyFlags
from studies.shared.lines import Key, Line, grouped, kept, pivot, table_of
from studies.shared.study import Measured, Study


class Squares(Study):
    """A study of whole numbers; `made` are those that were measured."""

    key = ("number", "seed")
    figures = ("figure",)
    made: list[Key] = []  # noqa: RUF012 - cleared by every test

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--numbers", nargs="+", type=int, required=True)
        flags.share(seeds=[0, 1])

    def check(self) -> None:
        if 13 in self.arguments.numbers:
            raise ArgumentError("13", hint="another number")

    def batches(self) -> Iterable[Sequence[Key]]:
        return [[(number, seed) for seed in self.arguments.seeds] for number in self.arguments.numbers]

    def measure(self, keys: Sequence[Key]) -> Measured:
        for key in keys:
            self.made.append(key)
            if key[0] == 7:
                raise KeyboardInterrupt
            yield key, {"square": key[0] ** 2 + key[1]}

    def wants(self, line: Line) -> bool:
        return line["seed"] < 5

    def table(self, lines: Sequence[Line]) -> str:
        return pivot(lines, ("number",), "seed", "square")

    def figure(self, lines: Sequence[Line]) -> Any:
        return new_figure(len(lines), 1)


def squares(*words: object) -> list[Key]:
    """What a command measured."""
    Squares.made.clear()
    Squares.run([str(word) for word in words])
    return list(Squares.made)


def test_what_is_there_is_not_measured_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "squares.jsonl"
    assert squares("--numbers", 2, 3, "--output", output) == [(2, 0), (2, 1), (3, 0), (3, 1)]
    assert [json.loads(line) for line in output.read_text().splitlines()][:2] == [
        {"number": 2, "seed": 0, "square": 4},
        {"number": 2, "seed": 1, "square": 5},
    ]
    shown = capsys.readouterr()
    assert shown.out.splitlines()[2] == "| 2 | 4.000 | 5.000 |" and "2, 0: square 4" in shown.err
    assert squares("--numbers", 3, 4, "--seeds", 1, 2, "--output", output) == [(3, 2), (4, 1), (4, 2)]


def test_what_was_measured_before_a_stop_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "squares.jsonl"
    with pytest.raises(KeyboardInterrupt):
        squares("--numbers", 2, 7, 3, "--seeds", 0, "--output", output)
    assert squares("--numbers", 2, 3, "--seeds", 0, "--output", output) == [(3, 0)]


def test_lines_are_shown_without_measuring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, table, figure = (tmp_path / name for name in ("squares.jsonl", "squares.md", "squares.svg"))
    squares("--numbers", 2, 3, "--seeds", 0, 9, "--output", output)
    expected = capsys.readouterr().out
    for spelling in ("--summarise", "--summarize"):
        assert squares(spelling, output, "--table", table, "--plot", figure) == []
        assert capsys.readouterr().out == table.read_text() == expected
    assert f"python -m {Squares.__module__} --summarize" in figure.read_text()
    assert expected.startswith("| number | 0 |\n"), "seed 9 is not wanted"
    with pytest.raises(DataError, match="no such file"):
        squares("--summarize", tmp_path / "none")
    with pytest.raises(SystemExit):
        squares("--output", output)


def test_what_cannot_be_done_is_refused_first(tmp_path: Path) -> None:
    output = ("--output", tmp_path / "squares.jsonl")
    for words in (("--numbers", 13), ("--numbers", 2, "--plot", "drawing.gif"), ("--numbers", 2, "--table", tmp_path)):
        with pytest.raises(ArgumentError):
            squares(*words, *output)
        assert not (tmp_path / "squares.jsonl").exists() and not Squares.made


def test_lines_in_groups_and_in_tables() -> None:
    lines = [{"way": way, "bits": bits, "kept": bits > 2, "score": bits} for way in "ab" for bits in (2, 4)][:3]
    assert {key: len(group) for key, group in grouped(lines, "way").items()} == {("a",): 2, ("b",): 1}
    assert kept(lines) == "1/3"
    assert table_of([{"a": 1, "b": "x"}]) == "| a | b |\n| --- | --- |\n| 1 | x |"
    assert pivot(lines, ("way",), "bits", "score", " bits").splitlines()[::3] == [
        "| way | 2 bits | 4 bits |",
        "| b | 2.000 |  |",
    ]


@pytest.mark.parametrize(
    ("text", "in_captions", "in_answers"),
    [
        ("A dog runs.", False, False),
        ("A dog dog runs.", True, True),
        ("A dog runs . .", True, False),  # dots together are filler in a caption alone
        ("A dog runs. It barks.", True, False),
        ("A dog , , runs", True, True),
        ('She said, "a dog (big) runs".', False, False),
    ],
)
def test_filler_by_rule(text: str, in_captions: bool, in_answers: bool) -> None:
    assert (has_filler(text, IN_CAPTIONS), has_filler(text, IN_ANSWERS)) == (in_captions, in_answers)


def test_every_study_asks_a_question_and_has_a_readme() -> None:
    listed = questions()
    assert len(listed) > 15 and "studies.compression.levels" in listed
    index = (ROOT / "studies" / "README.md").read_text(encoding="utf-8")
    for name, question in listed.items():
        folder = ROOT / "studies" / name.split(".")[1]
        assert question.partition("?")[1] == "?", name
        assert f"python -m {name}" in (folder / "README.md").read_text(encoding="utf-8"), name
        assert f"({folder.name}/README.md)" in index, name
    listing = subprocess.run([sys.executable, "-m", "studies"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"python -m {name}\n    {question}" in listing.stdout for name, question in listed.items())
