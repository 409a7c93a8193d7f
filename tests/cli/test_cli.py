"""The command line: a real run, and what it says to wrong input."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from helpers.command import run_command
from helpers.command import shown_by as run

from ctrlg import assets
from ctrlg.cli import main as cli
from ctrlg.cli.constraints import number_range
from ctrlg.errors import ArgumentError
from ctrlg.hmm import HMM


def test_generate_keeps_its_constraint() -> None:
    (result,) = json.loads(run("generate", "--keywords", "horse", "--words", "4..9", "--beams", "4", "--json"))
    assert result["satisfied"]
    assert "horse" in result["text"].lower().split() or "horse" in result["text"].lower().rstrip(".").split()
    assert 4 <= len(result["text"].split()) <= 9
    assert result["log_prob"] < 0
    assert set(result["timing"]) == {"preparation", "symbolic", "neural", "steps"}


def test_generate_writes_a_whole_text_of_a_form(tmp_path: Path) -> None:
    """Nothing is put behind it, and it may have what lines and sentences it likes."""
    schema = tmp_path / "schema.json"
    schema.write_text(
        '{"type": "object", "properties": {"dogs": {"type": "integer", "minimum": 7}}, "required": ["dogs"]}'
    )
    forms = [
        ["--regex", "[A-Z][a-z]+ [0-9]{1,2}, 20[0-9]{2}"],
        ["--choice", "yes.", "--choice", "no\nway"],
        ["--infill", "Once [gap].\nThen [gap].", "--gap-words", "2..4"],
        ["--json-schema", str(schema)],
        ["--keywords", "dog", "--sentences", "2", "--lower", "--words", "6..12"],
    ]
    result: dict[str, Any] = {}
    for form in forms:
        (result,) = json.loads(run("generate", *form, "--beams", "2", "--json"))
        assert result["satisfied"], form
    assert result["text"].islower() and sum(map(result["text"].count, ".?!")) == 2


def test_generate_answers_a_prompt() -> None:
    """The model 'instruct' takes its own HMM, reads the prompt as a user's turn, and may write several sentences."""
    question = ["generate", "--model", "instruct", "--prompt", "Write a story about a lighthouse.", "--beams", "4"]
    (result,) = json.loads(run(*question, "--keywords", "storm|gale", "--words", "25..40", "--json"))
    assert result["satisfied"] and 25 <= len(result["text"].split()) <= 40
    assert "storm" in result["text"] or "gale" in result["text"]
    assert "lighthouse" in result["text"].lower()


def test_a_refused_compression_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="bits is 9"):
        run("quantize", "default", str(tmp_path / "out"), "--bits", "9")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "version"),
    [
        (["norm-q"], 2),
        (["norm-q", "--no-initial"], 1),
        (["log-norm-q"], 1),
        (["log-norm-q", "--initial"], 2),
    ],
)
def test_quantize_takes_the_initial_distribution_or_not(tmp_path: Path, options: list[str], version: int) -> None:
    HMM(4, 30, 0).save_pretrained(tmp_path / "hmm")
    run("quantize", str(tmp_path / "hmm"), str(tmp_path / "out"), "--method", *options)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["format_version"] == version


def test_evaluate_scores_files_side_by_side(tmp_path: Path) -> None:
    concept_set = {"concept_set_idx": 5, "concepts": ["dog", "run"]}
    (tmp_path / "sets.jsonl").write_text(json.dumps(concept_set | {"references": ["A dog runs on the beach."]}))
    for name, sentence in (("good", "A dog runs on the beach."), ("bad", "A dog.")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(concept_set | {"sentence": sentence}))
    files = [str(tmp_path / "good.jsonl"), str(tmp_path / "bad.jsonl")]
    shown = run("evaluate", *files, "--references", str(tmp_path / "sets.jsonl"), "--no-meteor", "--json")
    good, bad = (json.loads(shown)[file] for file in files)
    assert good["bleu_4"]["value"] == pytest.approx(1, abs=1e-6) and good["success"]["value"] == 1
    assert bad["bleu_4"]["value"] < 0.1 and bad["success"]["value"] == 0 and bad["coverage"]["value"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate"], "no constraint"),
        (["generate", "--words", "many"], "no range"),
        (["generate", "--keywords", "dog", "--sentences", "few"], "--sentences 'few' is no range"),
        (["generate", "--regex", "a(?=b)"], "look-ahead at position 1"),
        (["generate", "--infill", "no gap"], "has no gap"),
        (["generate", "--keywords", "dog", "--gap-words", "2"], "--gap-words without --infill"),
        (["generate", "--json-schema", "/nowhere.json"], "/nowhere.json"),
        (["generate", "--choice", "yes", "--keywords", "dog"], "no text can keep this together"),
        (["generate", "--keywords", "dog", "--model", "instruct"], "no --prompt"),
        (["generate", "--keywords", "dog", "--prompt", ""], "--prompt is empty"),
        (["generate", "--keywords", "dog", "--chat-template"], "no --prompt"),
        (["generate", "--keywords", "dog", "--exclude", "dog"], "dog"),
        (["generate", "--keywords", "dog", "--hmm", "/nowhere"], "/nowhere"),
        (["quantize", "/nowhere", "/dev/null/folder"], "cannot make the folder /dev/null"),
        (
            ["quantize", str(assets.default_hmm_path()), tempfile.gettempdir(), "--bits", "9"],
            "bits is 9",
        ),
        (["generate", "--keywords", "dog", "--words", "20..30", "--max-new-tokens", "6"], "max_new_tokens"),
        (["quantize", "/nowhere", "out", "--refine", "-1"], "refine is -1"),
        (["quantize", "default", "/proc/folder"], "/proc"),
        (["quantize", "default", "n" * 300], "a name is too long"),
        (["quantize", "default", "n" * 250], "a name is too long"),
        (["generate", "--keywords", "dog", "--hmm", "n" * 300], "a name is too long"),
        (["distill", "default", "/dev/null/folder"], "cannot make the folder /dev/null"),
        (["distill", "default", "out", "--hidden-states", "1"], "hidden_states is 1"),
        (["distill", "default", "out", "--chat-template"], "without prompts"),
        (["train", "/nowhere", "/nowhere", "data", "--em-schedule", "2,1"], "/nowhere/checkpoint-0"),
        (["train", "/nowhere", "/nowhere", "data", "--em-schedule", "two"], "em_schedule"),
        (["evaluate", "/nowhere.json", "--references", "/nowhere.jsonl"], "/nowhere.json"),
        (["train", "/nowhere", "/nowhere", "data", "--em-schedule", "2,1", "--quantization-bits", "99"], "99"),
    ],
)
def test_wrong_input_ends_with_a_message_a_hint_and_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["ctrlg", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    shown = capsys.readouterr().err.replace("\n", " ")
    assert message in shown
    assert "hint" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_has_examples_and_the_summary_of_the_overview(command: str) -> None:
    shown = run(command, "--help")
    assert shown.count(f"ctrlg {command} ") > 1
    assert cli.COMMANDS[command][1] in " ".join(shown.split())


@pytest.mark.parametrize(("text", "expected"), [("8..12", (8, 12)), ("10", (10, 10))])
def test_word_ranges(text: str, expected: tuple[int, int]) -> None:
    assert number_range(text, "--words") == expected


@pytest.mark.parametrize("text", ["", "a..b", "8..x", "8-12"])
def test_other_word_ranges_are_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="--sentences"):
        number_range(text, "--sentences")


def test_quantize_replaces_nothing_but_its_own(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    HMM(3, 5, 0).save_pretrained(runs / "best")
    (runs / "thesis.tex").write_text("mine")
    best = {file.name: file.read_bytes() for file in (runs / "best").iterdir()}
    for output, message in (
        (runs, "would replace what it is made of"),
        (runs / "best" / "..", "would replace what it is made of"),
        (runs / "best", "would replace what it is made of"),
        (runs / "thesis.tex", "is no folder"),
    ):
        outcome = run_command("quantize", str(runs / "best"), str(output))
        assert isinstance(outcome.error, ArgumentError) and message in str(outcome.error)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    assert "notes.txt" in str(run_command("quantize", str(runs / "best"), str(tmp_path / "other")).error)
    assert (runs / "thesis.tex").read_text() == (tmp_path / "other" / "notes.txt").read_text() == "mine"
    assert {file.name: file.read_bytes() for file in (runs / "best").iterdir()} == best
    for _ in range(2):
        assert run_command("quantize", str(runs / "best"), str(runs / "coded")).error is None
