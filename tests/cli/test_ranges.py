"""Every numeric option of every command has a range: a value outside it ends with exit code 2 before any work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from ctrlg.cli import main as cli

SHORT = {"--lr": "--learning-rate", "--quantization-bits": "--bits"}  # older spellings that are tested as well
HUGE = str(2**70)
WHOLE = ("0", "-1", HUGE, "1.5", "nan", "x")
NATURAL = ("-1", HUGE, "nan", "x")
REAL = ("-1", "nan", "inf", "x")
COMMANDS: dict[str, tuple[list[str], dict[str, tuple[str, ...]]]] = {
    "generate": (
        ["--keywords", "dog"],
        {
            "--beams": WHOLE,
            "--number": WHOLE,
            "--min-new-tokens": NATURAL,
            "--max-new-tokens": NATURAL,
            "--no-repeat": NATURAL,
            "--seed": NATURAL,
            "--strength": (*REAL, "0"),
            "--words": ("-1", "5..2", "x", HUGE, "nan"),
            "--sentences": ("0", "5..2", "x", HUGE, "nan"),
        },
    ),
    "demo": ([], {"--beams": WHOLE}),
    "page": (
        ["--model", "/nowhere"],
        {"--port": ("-1", "65536", HUGE, "1.5", "nan", "x"), "--time-limit": (*REAL, "0")},
    ),
    "quantize": (
        ["default", "{here}/out"],
        {"--bits": (*WHOLE, "9"), "--max-bytes": WHOLE, "--threshold": REAL, "--refine": NATURAL},
    ),
    "distill": (
        ["/nowhere", "{here}/out"],
        {
            "--hidden-states": (*WHOLE, "1"),
            "--sequences": WHOLE,
            "--held-out": WHOLE,
            "--max-new-tokens": WHOLE,
            "--temperature": (*REAL, "0"),
            "--soft-steps": NATURAL,
            "--one-hot-steps": NATURAL,
            "--next-tokens": WHOLE,
            "--soft-prior": REAL,
            "--one-hot-prior": REAL,
            "--bits": (*WHOLE, "9"),
            "--max-bytes": ("0", "-1", "x"),
            "--batch-size": WHOLE,
            "--embedded-sequences": WHOLE,
            "--soft-sequences": WHOLE,
            "--seconds": (*REAL, "0"),
            "--seed": NATURAL,
        },
    ),
    "train": (
        ["/nowhere", "/nowhere", "data", "--em-schedule", "2,1"],
        {
            "--total-chunks": WHOLE,
            "--checkpoint": NATURAL,
            "--save-per-step": WHOLE,
            "--batch-size": WHOLE,
            "--dropout": (*REAL, "1"),
            "--pseudocount": REAL,
            "--prior-strength": REAL,
            "--prior-checkpoint": NATURAL,
            "--sample-length": WHOLE,
            "--quantization-step": NATURAL,
            "--quantization-bits": (*WHOLE, "17"),
            "--patience": WHOLE,
            "--seconds": (*REAL, "0"),
            "--seed": NATURAL,
            "--timeout": (*REAL, "0"),
            "--em-schedule": ("0,1", "1,0", "-1,1", "x", f"{HUGE},1"),
        },
    ),
    "benchmark": (
        ["/nowhere.jsonl", "{here}/out.jsonl", "--grid", "float32"],
        {
            "--beams": WHOLE,
            "--limit": WHOLE,
            "--seeds": NATURAL,
            "--max-new-tokens": WHOLE,
            "--together": WHOLE,
            "--seconds": (*REAL, "0"),
            "--least-words": NATURAL,
            "--most-words": NATURAL,
            "--most-sentences": WHOLE,
            "--part": NATURAL,
            "--parts": WHOLE,
            "--grid": ("norm-q:0", "norm-q:99", "norm-q:x", "norm-q", f"norm-q:{HUGE}"),
        },
    ),
    "evaluate": (["/nowhere.json", "--references", "/nowhere.jsonl"], {"--resamples": WHOLE, "--seed": NATURAL}),
    "inspect": (["/nowhere"], {"--tokens": WHOLE, "--states": NATURAL, "--words": WHOLE}),
    "tweak": (
        ["{here}/out", "--model", "/nowhere"],
        {
            "--bits": (*WHOLE, "9"),
            "--group-size": (*WHOLE, "1"),
            "--lr": REAL,
            "--scale": REAL,
            "--iterations": WHOLE,
            "--batch-size": WHOLE,
            "--grid-lr": REAL,
            "--grid-scale": REAL,
            "--samples": WHOLE,
            "--length": (*WHOLE, "1"),
            "--held-out": (*NATURAL, "500"),
            "--seed": NATURAL,
            "--tokens": WHOLE,
            "--window": (*WHOLE, "1"),
            "--stride": (*WHOLE, "5000"),
            "--threads": NATURAL,
        },
    ),
}


def cases() -> Iterator[tuple[str, str, str]]:
    for command, (_, options) in COMMANDS.items():
        for option, values in options.items():
            for value in values:
                yield command, option, value


@pytest.mark.parametrize(("command", "option", "value"), list(cases()))
def test_a_number_out_of_range_is_refused_at_once(
    command: str,
    option: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_work(*_: object, **__: object) -> Any:
        raise AssertionError("work began")

    for place in (
        "ctrlg.loading.language_models.load_language_model",
        "ctrlg.loading.load_hmm",
        "ctrlg.cli.demo.Generator.default",
    ):
        monkeypatch.setattr(place, no_work)
    words = [word.replace("{here}", str(tmp_path)) for word in COMMANDS[command][0]]
    monkeypatch.setattr("sys.argv", ["ctrlg", command, *words, f"{option}={value}"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    shown = capsys.readouterr()
    assert stopped.value.code == 2
    assert "error:" in shown.err and "hint:" in shown.err and "Traceback" not in shown.err
    assert "/nowhere" not in shown.err  # the number was looked at first
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_no_numeric_option_is_left_out(command: str) -> None:
    tested = {SHORT.get(name, name) for name in COMMANDS[command][1]}
    for option in cli.program(command).options():
        if plain_types(option.kind) & {int, float}:
            assert f"--{option.name.replace('_', '-')}" in tested


def plain_types(hint: Any) -> set[Any]:
    """The types in an annotation, those of a sequence's elements included."""
    return {hint}.union(*map(plain_types, get_args(hint))) if not isinstance(hint, tuple) else set()
