"""The command `ctrlg` run in this process, and what it leaves."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

from ctrlg.cli import main as cli


class Outcome(NamedTuple):
    """What was printed, and the error that ended the command; None where it did its work."""

    stdout: str
    stderr: str
    error: Exception | None


def run_command(*words: str) -> Outcome:
    """`ctrlg` with these words. Does not raise."""
    error = None
    with redirect_stdout(io.StringIO()) as shown, redirect_stderr(io.StringIO()) as complained:
        try:
            cli.run(words)
        except Exception as raised:
            error = raised
    return Outcome(shown.getvalue(), complained.getvalue(), error)


def shown_by(*words: str) -> str:
    """What `ctrlg` prints with these words. Raises its errors."""
    outcome = run_command(*words)
    if outcome.error is not None:
        raise outcome.error
    return outcome.stdout
