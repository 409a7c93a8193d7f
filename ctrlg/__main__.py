"""The command `ctrlg`, also as `python -m ctrlg`: what must be set before torch is loaded, then the commands.

How torch's threads wait for work is read when they are loaded, and how often Python looks for garbage matters most
while thousands of modules are loaded. A library must not decide that for its users; a program may for itself. Importing
`ctrlg` loads no torch, so that this comes first.
"""

from __future__ import annotations

import atexit
import gc
import os

SPINS = "10000"
"""Looks for work before a waiting thread gives its core away. GNU OpenMP's own choice takes milliseconds, in which two
processes on the same cores keep each other from working. Of the numbers tried this is the one that helped beside a
neighbour in every run, at 1 to 4 % of the speed alone in all runs but one (`benchmarks/busy_neighbour.py`,
docs/running.md)."""
OBJECTS_BEFORE_A_LOOK = 10_000
"""New objects before Python looks for garbage, instead of its 700: `ctrlg generate --keywords dog` ends a sixth
earlier, and 50,000 is no better. What is left at the end goes with the process, unlooked at: another tenth."""


def main() -> None:
    """Entry point of the command. What the user has set stays as it is."""
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = SPINS
    gc.set_threshold(OBJECTS_BEFORE_A_LOOK, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)
    from ctrlg.cli.main import main as run_command

    run_command()


if __name__ == "__main__":
    main()
