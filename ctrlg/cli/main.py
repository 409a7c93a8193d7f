"""The command `ctrlg`: thin over the library; every error ends with a hint and exit code 2.

Nothing is imported for a command before it is named, and nothing heavy before it runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ctrlg.terminal.console import as_program
from ctrlg.terminal.program import command_line, overview

if TYPE_CHECKING:
    from ctrlg.terminal.program import Program

COMMANDS = {
    "generate": ("generation", "Write texts that satisfy a constraint, best first."),
    "demo": ("generation", "Eight constraints, eight sentences: the main job on the embedded model."),
    "page": ("page", "A page to write on, in the browser."),
    "distill": ("distillation", "Turn a language model into a compressed HMM: sample, cluster, train, compress."),
    "train": ("distillation", "EM on sampled sequences, Norm-Q aware if asked; goes on where it was stopped."),
    "quantize": ("distillation", "Compress an HMM."),
    "benchmark": ("evaluation", "Write sentences for every concept set with an HMM compressed in many ways."),
    "evaluate": ("evaluation", "Score sentences for concept sets, with 95 % intervals."),
    "inspect": ("evaluation", "Show an HMM from inside."),
    "tweak": ("tweaking", "Quantize a language model and repair it by its norms alone (Norm Tweaking)."),
}
"""Each command's module here, and what it does."""


def program(command: str) -> Program:
    """The command line of a command.

    Args:
        command: a key of COMMANDS.
    """
    return importlib.import_module(f"ctrlg.cli.{COMMANDS[command][0]}").PROGRAMS[command]


def run(words: Sequence[str]) -> None:
    """Run the command that the words name.

    Args:
        words: after the program's name.

    Raises:
        ArgumentError: words that name none, and as the command.
    """
    if words and words[0] in COMMANDS:
        program(words[0])(words[1:])
        return
    summaries = {name: summary for name, (_, summary) in COMMANDS.items()}
    overview("ctrlg", "Constrained text generation that satisfies what it is asked for.", summaries, words)


def main() -> None:
    """Entry point: errors of this library, and of the command line itself, become a message and exit code 2."""
    with as_program():
        run(command_line())


if __name__ == "__main__":
    main()
