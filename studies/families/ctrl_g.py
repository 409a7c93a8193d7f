"""A text for an automaton by a checkout of Ctrl-G, in a process of its own and within limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ctrlg.automata.dfa import DFA
from ctrlg.hmm import HMM

SECONDS = 256  # the paper's limit, here of processor time
GIGABYTES = 16
PROGRAM = "import sys, ctrl_g_process; ctrl_g_process.main(*sys.argv[1:])"


class CtrlG(NamedTuple):
    """checkout: of Ctrl-G. folder: where a language model is and inputs go."""

    checkout: Path
    folder: Path

    @classmethod
    def of(cls, checkout: str, model: Any, hmm: HMM) -> CtrlG:
        """Save the models where the process finds them, in a folder that the system clears."""
        folder = Path(tempfile.mkdtemp(prefix="families-"))
        model.save_pretrained(folder / "model")
        hmm.save_pretrained(folder / "hmm")
        return cls(Path(checkout).resolve(), folder)

    def write(self, dfa: DFA, end: int, tokens: int, beams: int) -> dict[str, Any]:
        """ids, preparation, symbolic, neural (seconds), or `refused`: why there is no text."""
        inputs, result = self.folder / "inputs.npz", self.folder / "result.json"
        np.savez(
            inputs,
            class_of=dfa.class_of,
            delta=dfa.delta,
            accepting=dfa.accepting,
            initial=np.array(dfa.initial),
            numbers=np.array([end, tokens, beams]),
        )
        paths = [self.folder / "model", self.folder / "hmm", inputs, result]
        command = [sys.executable, "-c", PROGRAM, *map(str, paths), str(SECONDS), str(GIGABYTES)]
        found_in = os.pathsep.join([str(self.checkout), str(Path(__file__).parent)])
        environment = os.environ | {"PYTHONPATH": found_in, "TORCHDYNAMO_DISABLE": "1"}
        result.unlink(missing_ok=True)
        ended = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if result.is_file():
            return json.loads(result.read_text())
        last = ended.stderr.strip().splitlines()[-1:] or [f"ended by signal {-ended.returncode}"]
        return {"refused": f"over {SECONDS} s" if ended.returncode < 0 else last[0]}
