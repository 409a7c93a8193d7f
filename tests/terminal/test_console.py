"""What is not ours is printed as it is: nothing of it reaches the terminal as an escape sequence or as markup."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.command import shown_by
from helpers.tiny_models import tiny_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from test_arguments import names  # noqa: F401 (a fixture)

from ctrlg.cli import main as cli
from ctrlg.errors import ArgumentError
from ctrlg.figures import label
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.plain_console import PlainConsole
from ctrlg.terminal.text import visible, visible_token

HOSTILE = "[red]x[/x] \x1b[31m\x1b]0;title\x07 \x9b2J \u202edetrevni :smile:"
SHOWN = r"[red]x[/x] \x1b[31m\x1b]0;title\x07 \x9b2J \u202edetrevni :smile:"
DANGEROUS = "\x1b\x07\x9b\u202e"


def harmless(text: str) -> bool:
    return not any(mark in text for mark in DANGEROUS)


def test_control_characters_are_written_out_and_brackets_stay() -> None:
    assert visible(HOSTILE) == SHOWN
    assert visible("Nguyễn, 狗, e\u0301\n\tand \U0001f600") == "Nguyễn, 狗, e\u0301\n\tand \U0001f600"
    assert visible("\ud800\u2028\r") == r"\ud800\u2028\r"


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_whatever_is_shown_can_be_printed_and_is_shown_once(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert visible(shown) == shown
    assert not any(mark < " " or "\x7f" <= mark < "\xa0" for mark in shown if mark not in "\n\t")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_console_prints_text_tables_and_bars_harmlessly(terminal: bool) -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=terminal, no_color=True, width=200)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    for what in (HOSTILE, Text.assemble(("a", "bold"), HOSTILE), table):
        console.print(what)
    printed = file.getvalue()
    assert printed.count(r"[red]x[/x] \x1b[31m") == 5
    assert "\x9b" not in printed and "\u202e" not in printed and "\x1b]" not in printed and "\x1b[31m" not in printed
    with Progress(console=console) as bars:
        bars.add_task("\x9b2J", total=1)
    assert "\x9b" not in file.getvalue()


def test_errors_show_what_other_libraries_say(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, as_program():
        raise ArgumentError(f"cannot load {HOSTILE}", hint=f"not {HOSTILE}")
    shown = capsys.readouterr().err
    assert stopped.value.code == 2
    assert shown.count(SHOWN.split(" ")[0]) == 2 and harmless(shown)


def test_scripts_print_and_complain_harmlessly(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    with pytest.raises(SystemExit):
        PlainArgumentParser("About.").parse_args([f"--{HOSTILE}"])
    captured = capsys.readouterr()
    assert captured.out == SHOWN + "\n"
    assert r"\x1b[31m" in captured.err and harmless(captured.err)


def test_a_token_is_one_line_and_a_figure_s_label_no_formula() -> None:
    tokenizer = tiny_tokenizer()
    (escape,) = tokenizer.encode("\x1b")
    assert visible_token(tokenizer, escape) == r"\x1b"
    assert label("$x\x1b") == r"\$x\x1b"


@pytest.mark.parametrize(
    "arguments",
    [
        [f"--{HOSTILE}"],
        [HOSTILE],
        ["generate", "--beams", HOSTILE],
        ["generate", "--keywords", "dog", "--hmm", HOSTILE],
        ["generate", "--keywords", "dog", "--words", HOSTILE],
        ["generate", "--keywords", "\udcff"],
        ["generate", "--keywords", "dog", "--prefix", "\ud800"],
        ["generate", "--keywords", "dog", "--device", HOSTILE],
        ["quantize", HOSTILE.replace("/", ""), "{here}/out"],
        ["quantize", "default", "{here}/out", "--method", HOSTILE],
        ["quantize", "default", "{here}/out", HOSTILE],
        ["inspect", HOSTILE],
        ["inspect", "default", "--plot", "{here}/" + HOSTILE.replace("/", "")],
        ["distill", HOSTILE, "{here}/out", "--prompts", HOSTILE],
        ["train", HOSTILE, HOSTILE, HOSTILE, "--em-schedule", "2,1"],
        ["train", "m", "d", "s", "--em-schedule", HOSTILE],
        ["benchmark", HOSTILE, "{here}/out.jsonl", "--grid", "float32"],
        ["benchmark", "sets.jsonl", "{here}/out.jsonl", "--grid", HOSTILE],
        ["evaluate", HOSTILE, "--references", HOSTILE],
        ["tweak", "{here}/out", "--model", HOSTILE],
        ["tweak", "{here}/out", "--quantizer", HOSTILE],
        ["tweak", "{here}/out", "--perplexity", HOSTILE],
        ["demo", "--picture", HOSTILE],
    ],
)
def test_every_command_refuses_hostile_words_harmlessly(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    given = [word.replace("{here}", str(tmp_path)) for word in arguments]
    monkeypatch.setattr("sys.argv", ["ctrlg", *given])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert stopped.value.code == 2
    assert harmless(shown) and "Traceback" not in shown
    assert "error:" in captured.err and "hint:" in captured.err


def test_what_was_written_is_printed_harmlessly_and_json_stays_json(
    names: dict[str, Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "ctrlg.loading.language_models.load_language_model", lambda *_: (names["model"], names["tokenizer"])
    )
    words = [
        "generate",
        "--keywords",
        "dog",
        "--hmm",
        "none",
        "--prefix",
        f"{HOSTILE} ",
        "--beams",
        "2",
        "--suffix",
        "",
    ]
    words += ["--beams", "2", "--max-new-tokens", "4"]
    plain = shown_by(*words)
    assert "[red]x[/x]" in plain and r"\x1b[31m" in plain and harmless(plain)
    as_json = shown_by(*words, "--json")
    assert json.loads(as_json)[0]["text"].startswith(HOSTILE)
    assert "\x1b" not in as_json


def test_an_hmm_s_own_words_are_shown_harmlessly(names: dict[str, Any]) -> None:  # noqa: F811
    from ctrlg.inspection.inspect import inspect_hmm
    from ctrlg.inspection.report import show

    file = io.StringIO()
    console: Console = PlainConsole(file=file, width=4000)
    show(inspect_hmm(names["hmm"], words=200), 1000, names["tokenizer"], console)
    assert "likeliest tokens" in file.getvalue() and harmless(file.getvalue())
