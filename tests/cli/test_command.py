"""The program `ctrlg` decides how its threads wait, before torch is loaded; the library decides nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SHOW = """
import json, os, sys
import ctrlg.__main__ as program
loaded = "torch" in sys.modules
sys.modules["ctrlg.cli.main"] = type(sys)("ctrlg.cli.main")
sys.modules["ctrlg.cli.main"].main = lambda: print(json.dumps([loaded, os.environ.get("GOMP_SPINCOUNT")]))
program.main()
"""


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, None)],
    ids=str,
)
def test_threads_give_way_unless_the_user_says_how(given: dict[str, str], found: str | None) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", SHOW], env=kept | given, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [False, found]


@pytest.mark.parametrize("words", [["--help"], ["generate", "--help"]], ids=" ".join)
def test_a_reader_that_has_read_enough_ends_the_program_quietly(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as `head` leaves it
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ctrlg", *words], stdout=writing, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
