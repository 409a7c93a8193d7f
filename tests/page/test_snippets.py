"""The Python that the page shows makes the same constraint."""

from __future__ import annotations

from typing import Any

import pytest
from constraint_strategies import CONSTRAINTS
from hypothesis import given, settings

import ctrlg
from ctrlg import Exclude, Keywords, WordCount
from ctrlg.constraints import AllOf, AnyOf, Constraint, Not
from ctrlg.page.snippets import call, expression, names, of_models

NAMES: dict[str, Any] = {name: getattr(ctrlg.constraints, name) for name in ctrlg.constraints.__all__}


@settings(max_examples=200, deadline=None)
@given(constraint=CONSTRAINTS)
def test_python_makes_the_same_constraint(constraint: Constraint) -> None:
    made = eval(expression(constraint), {name: NAMES[name] for name in names(constraint)})
    # a & b & c is one level: what is written with operators may have fewer levels than what was given.
    assert str(made) == str(constraint) or flat(made) == flat(constraint)


def flat(constraint: Constraint) -> Any:
    """Without the levels that operators take away."""
    if isinstance(constraint, (AllOf, AnyOf)):
        inside = [flat(part) for part in constraint.constraints]
        own = type(constraint).__name__
        joined = [one for part in inside for one in (part[1] if part[0] == own else [part])]
        return (own, joined)
    if isinstance(constraint, Not):
        return ("Not", flat(constraint.constraint))
    return ("one", constraint)


@pytest.mark.parametrize(
    ("constraint", "written"),
    [
        (Keywords(["dog"], inflect=True) & WordCount(6, 12), "Keywords([['dog']], inflect=True) & WordCount(6, 12)"),
        (~(Exclude("cat") | WordCount(3)), "~(Exclude(['cat']) | WordCount(3))"),
        (AllOf(()), "AllOf([])"),
    ],
)
def test_what_is_written(constraint: Constraint, written: str) -> None:
    assert expression(constraint) == written


def test_a_whole_program_compiles() -> None:
    constraint = Keywords(["dog"]) & AnyOf((WordCount(3),))
    program = call(constraint, {"n": 3, "prefix": 'He said "', "max_new_tokens": 30}, of_models("instruct", None))
    compile(program, "snippet", "exec")
    assert "Generator.default('instruct')" in program and "from ctrlg.constraints import AnyOf" in program
    assert "from ctrlg import Generator, Keywords, WordCount" in program


def test_the_generator_is_that_of_the_models() -> None:
    assert of_models("default", None) == of_models("default", "default") == "Generator.default()"
    assert of_models("gpt2", "runs/hmm") == "Generator(*load_language_model('gpt2'), load_hmm('runs/hmm'))"
    assert of_models("default", "none") == "Generator(*load_language_model('default'), None)"
    program = call(WordCount(3), {}, of_models("gpt2", None))
    assert "from ctrlg.loading import load_hmm, load_language_model" in program
    compile(program, "snippet", "exec")
