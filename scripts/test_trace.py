"""Where does the time of a step go, to the language model or to the constraint, as the HMM grows?

The same as `python -m studies.tracing.steps`; `--help` lists the flags.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Studies are not installed; they stand beside this folder in a checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ctrlg.terminal.console import as_program
from studies.tracing.steps import Steps


def main() -> None:
    Steps.run(sys.argv[1:], program="python scripts/test_trace.py")


if __name__ == "__main__":
    with as_program():
        main()
