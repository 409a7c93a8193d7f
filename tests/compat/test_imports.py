"""Where the names of Ctrl-G and Norm-Q are found; that the library does without them; what importing leaves alone."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ctrlg

PACKAGE = Path(ctrlg.__file__).parent
PUBLIC_FACE = {"__init__.py", "dfa.py", "utils.py", "mytest.py"}
OF_COMPAT = ("ctrlg.compat", "ctrlg.dfa", "ctrlg.utils", "ctrlg.mytest")

NAMES = {
    "ctrlg.dfa": """set2npset edges2G edges2states edges2dict DFA_remove_unreachable_states DFA_merge_dead_states
        DFA_merge_undistinguishable_states DFA_minimize DFA_size DFA_negate DFA_concatenate_binary DFA_concatenate
        DFA_prod_binary DFA_prod KMPBuilder AhoCorasickBuilder TrivialBuilder EOSBuilder WordCountBuilder DFAModel
        np torch nn Queue""",
    "ctrlg.hmm": "matmul ib_ib_bj_to_ij HMM",
    "ctrlg.utils": """logsumexp matmul_log matmul_loga_b matmul_a_logb distribute_state_weights aggregate_edge_weights
        ends_at ConstraintLogitsProcessor extract_generated_ids rank_generated_ids torch LogitsProcessor q_matmul""",
    "ctrlg.mytest": """asymq symq q_matmul q_matmul_log q_matmul_loga_b q_matmul_a_logb _test_matmul_log concepts2cnf
        torch""",
}
ONLY_IN_MODULES = {"np", "torch", "nn", "Queue", "LogitsProcessor", "_test_matmul_log"}


@pytest.mark.parametrize("module", NAMES)
def test_every_name_comes_with_a_star_import_of_its_module(module: str) -> None:
    found: dict[str, object] = {}
    exec(f"from {module} import *", found)
    names = set(NAMES[module].split())
    assert names <= found.keys()
    for name in names - ONLY_IN_MODULES:
        assert getattr(ctrlg, name) is found[name] is getattr(importlib.import_module(module), name)
        assert name in ctrlg.__all__


def imported(tree: ast.AST) -> Iterator[str]:
    """Modules that are imported anywhere in a file, and `module.name` for what is taken from one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_but_the_public_face_imports_compat() -> None:
    compat = {f"ctrlg.{name}" for name in ctrlg.compat.__all__}
    looked_at = 0
    for file in PACKAGE.rglob("*.py"):
        place = file.relative_to(PACKAGE)
        if place.parts[0] == "compat" or str(place) in PUBLIC_FACE:
            continue
        looked_at += 1
        for name in imported(ast.parse(file.read_text(encoding="utf-8"))):
            assert not name.startswith(OF_COMPAT) and name not in compat, f"{place} imports {name}"
            assert name != "ctrlg", f"{place} imports the public face"
    assert looked_at > 100


def test_importing_sets_nothing_globally() -> None:
    program = """
import os, torch
def state():
    flags = torch.get_float32_matmul_precision(), torch.get_default_dtype(), torch.is_grad_enabled()
    return flags, torch.get_num_threads(), dict(os.environ), torch.get_rng_state().tolist()
before = state()
import ctrlg, ctrlg.dfa, ctrlg.utils, ctrlg.mytest
assert state() == before
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PACKAGE.parent)
