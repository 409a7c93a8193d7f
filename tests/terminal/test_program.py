"""Command lines made of functions and settings classes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from ctrlg.arguments import Positive, checked
from ctrlg.cli import main as cli
from ctrlg.errors import ArgumentError
from ctrlg.terminal.program import Program
from ctrlg.terminal.spellings import SPELLINGS


@checked
@dataclass(frozen=True)
class Settings:
    """What to do.

    Attributes:
        base_model: where words come from.
        output_path: where they go.
        words: how many;
            of each.
        most: bound.
        keep_better: or not.
    """

    base_model: str
    output_path: str
    words: tuple[Positive, ...] = (3, 4)
    most: Positive | None = 9
    keep_better: bool = True


RUNS: list[tuple[Any, ...]] = []


def work(settings: Settings, most: int | None = 5, rate: float = 0.1, texts: tuple[str, ...] = ()) -> None:
    """Work.

    More about it.

    Args:
        most: of all.
        rate: of it.
        texts: to begin with.
    """
    RUNS.append((settings, most, rate, texts))


PROGRAM = Program(work, "work.py", examples="  work.py a b --texts x")
WHOLE = Settings("a", "b")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a b", (WHOLE, 5, 0.1, ())),
        ("--output b --model a", (WHOLE, 5, 0.1, ())),
        ("--output_path=b --model_name_or_path a", (WHOLE, 5, 0.1, ())),
        ("--base-model a --output-file b", (WHOLE, 5, 0.1, ())),
        ("a b --words 1 2 --words 3", (Settings("a", "b", (1, 2, 3)), 5, 0.1, ())),
        ("a b --most none --rate 2", (WHOLE, None, 2.0, ())),
        ("a b --most 1 --most 2", (WHOLE, 2, 0.1, ())),
        ("a b --no-keep-better", (Settings("a", "b", keep_better=False), 5, 0.1, ())),
        ("a b --keep_worse", (Settings("a", "b", keep_better=False), 5, 0.1, ())),
        ("a b --texts none --texts dog|cat", (WHOLE, 5, 0.1, ("none", "dog|cat"))),
    ],
)
def test_words_become_arguments(words: str, expected: tuple[Any, ...]) -> None:
    RUNS.clear()
    PROGRAM(words.split())
    (found,) = RUNS
    assert found == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a", "--output"),
        ("a b c", "'c'"),
        ("a b --nothing 1", "--nothing"),
        ("a b --words 0", "words"),
        ("a b --words 1.5", "'1.5' is not a whole number"),
        ("a b --most x", "'x' is not a whole number or none"),
        ("a b --rate x", "--rate"),
    ],
)
def test_other_words_are_refused(words: str, message: str) -> None:
    RUNS.clear()
    with pytest.raises(ArgumentError) as refused:
        PROGRAM(words.split())
    assert message in refused.value.message and refused.value.hint
    assert not RUNS


def test_help_is_that_of_the_docstrings_and_shows_one_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    PROGRAM(["--help"])
    shown = capsys.readouterr().out
    assert shown.endswith("\nMore about it.\n\n  work.py a b --texts x\n")
    for text in (
        "where words come from.",
        "how many; of each. [default: 3 4]",
        "of all. [default: 5]",
        "\nMore about it.",
    ):
        assert text in shown
    assert "--model" in shown and "base" not in shown and "bound" not in shown


def test_defaults_may_be_a_program_s_own() -> None:
    RUNS.clear()
    Program(work, "work.py", defaults={"base_model": "m", "rate": 0.5})(["b"])
    (found,) = RUNS
    assert found == (Settings("m", "b"), 5, 0.5, ())


def test_a_name_is_an_older_spelling_of_one_option() -> None:
    older = [name for others in SPELLINGS.values() for name in others]
    assert len(older) == len(set(older)) and not set(older) & set(SPELLINGS)


def test_no_command_line_needs_torch() -> None:
    program = "import sys; from ctrlg.cli import main as cli\n"
    program += f"for name in {list(cli.COMMANDS)}: cli.run([name, '--help'])\n"
    program += "cli.run([])\nassert not {'torch', 'transformers', 'numba'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
