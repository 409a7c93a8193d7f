"""Flags of studies and benchmarks: other spellings mean the same."""

from __future__ import annotations

import pytest

from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.spellings import spelled


def parser() -> PlainArgumentParser:
    """Of a program with three flags."""
    made = PlainArgumentParser("A program.")
    made.add_argument("--model", default="default")
    made.add_argument("--hidden-states", type=int, default=4)
    made.add_argument("--figure", dest="figure", default="")
    return made


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--base_model", "a"], "model", "a"),
        (["--base-model=a=b"], "model", "a=b"),
        (["--hidden_states", "8"], "hidden_states", 8),
        (["--hidden-states", "8"], "hidden_states", 8),
        (["--figure", "a.svg"], "figure", "a.svg"),  # a program's own flag is never another's older spelling
    ],
)
def test_a_flag_may_be_spelled_as_it_once_was(words: list[str], name: str, value: object) -> None:
    assert getattr(parser().parse_args(words), name) == value


def test_what_no_program_takes_is_still_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--dataset_path", "a"])
    assert "--dataset_path" in capsys.readouterr().err


def test_a_name_without_another_is_its_own() -> None:
    assert spelled("beams") == "beams"
    assert spelled("dataset_path") == "data"
