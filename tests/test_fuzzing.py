"""A few of the mutants of `tests/fuzzing.py`; run that file for a thousand."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from fuzzing import KINDS, damage, fuzz, make_checkpoints, try_loading


def test_checkpoints_that_are_not_damaged_load(tmp_path: Path) -> None:
    make_checkpoints(tmp_path)
    assert {kind: try_loading(kind, tmp_path / kind) for kind in KINDS} == dict.fromkeys(KINDS, "valid")


def test_mutants_are_the_same_for_a_seed(tmp_path: Path) -> None:
    make_checkpoints(tmp_path / "whole")
    for number in range(8):
        copies = [Path(shutil.copytree(tmp_path / "whole" / "hmm", tmp_path / f"{number}-{copy}")) for copy in "ab"]
        how = [damage(copy, random.Random(number)) for copy in copies]
        assert how[0] == how[1]


def test_every_mutant_is_refused_with_a_hint_or_works() -> None:
    counts, faults = fuzz(48, seed=1)
    assert not faults
    assert sum(counts.values()) == 48
    assert any("refused" in name for name in counts)
