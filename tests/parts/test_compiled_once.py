"""Automata that are compiled once: the same ones, within their limits, and not too many of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.tiny_models import tiny_tokenizer

from ctrlg.automata.algebra import constant
from ctrlg.automata.dfa import DFA
from ctrlg.constraints import Before, Constraint, Keywords
from ctrlg.constraints.base import Target
from ctrlg.errors import BudgetError
from ctrlg.parts.compiled_once import CompiledOnce, compiled_once
from ctrlg.vocabulary import Vocabulary

VOCABULARY = Vocabulary.of(tiny_tokenizer())


class Maker:
    """Makes an automaton, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> DFA:
        self.calls += 1
        return constant(True, 5)


def test_what_was_made_within_a_limit_serves_larger_ones_only() -> None:
    kept, make = CompiledOnce(), Maker()
    for limit, calls in ((10, 1), (10, 1), (20, 1), (9, 2), (9, 2), (10, 2)):
        kept.get("key", limit, make)
        assert make.calls == calls
    assert len(kept) == 1


def test_a_refusal_is_not_kept() -> None:
    def refuse() -> DFA:
        raise BudgetError("too many", hint="fewer")

    kept, make = CompiledOnce(), Maker()
    with pytest.raises(BudgetError):
        kept.get("key", 1, refuse)
    assert len(kept) == 0
    kept.get("key", 1, make)
    assert make.calls == 1


def test_those_used_longest_ago_make_room() -> None:
    one = constant(True, 1000)
    size = one.class_of.nbytes + one.delta.nbytes + one.accepting.nbytes
    kept = CompiledOnce(2 * size)
    for key in (1, 2, 1, 3):
        kept.get(key, 1, lambda: one)
    assert len(kept) == 2
    make = Maker()
    kept.get(1, 1, make)
    assert make.calls == 0
    kept.get(2, 1, make)
    assert make.calls == 1
    kept.clear()
    assert len(kept) == 0


def test_keys_that_cannot_be_hashed_are_made_every_time() -> None:
    kept, make = CompiledOnce(), Maker()
    unhashable: Any = ["key"]
    kept.get(unhashable, 1, make)
    kept.get(unhashable, 1, make)
    assert make.calls == 2 and len(kept) == 0


def test_constraints_say_the_same_with_automata_that_are_kept_and_without() -> None:
    targets = [Target(VOCABULARY), Target(VOCABULARY, "the", "s"), Target(VOCABULARY, max_states=50)]
    constraints: list[Constraint] = [Before("and", Keywords([word])) for word in ("dog", "park")]
    constraints += [~constraint for constraint in constraints]
    compiled_once.clear()
    with_kept = [one.automaton(target) for target in targets for one in constraints for _ in range(2)][1::2]
    alone = []
    for target in targets:
        for one in constraints:
            compiled_once.clear()
            alone.append(one.automaton(target))
    for first, second in zip(with_kept, alone, strict=True):
        assert (first.delta == second.delta).all() and (first.class_of == second.class_of).all()


def test_a_limit_is_kept_whatever_was_compiled_before() -> None:
    constraint = Keywords(["dog", "park", "run"])
    roomy = Target(VOCABULARY)
    states = constraint.automaton(roomy).num_states
    with pytest.raises(BudgetError):
        constraint.automaton(roomy._replace(max_states=states - 2))


def test_constraints_told_apart_by_identity_are_compiled_every_time() -> None:
    class Changing(Constraint):
        accepted = True

        def holds(self, text: str) -> bool:
            return self.accepted

        def automaton(self, target: Target, kept: bool = True) -> DFA:
            return constant(self.accepted == kept, target.vocabulary.vocab_size)

    one = Changing()
    assert one.automaton(Target(VOCABULARY)).accepting.all()
    one.accepted = False
    assert not np.any(one.automaton(Target(VOCABULARY)).accepting)
