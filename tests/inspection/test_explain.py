"""What a constraint is said to come down to, against automata counted by hand; the command."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from helpers.command import run_command
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

import ctrlg
from ctrlg.constraints import At, Constraint, Count, Exclude, Keywords, WordCount
from ctrlg.errors import ArgumentError, BudgetError
from ctrlg.generation import Generator
from ctrlg.hmm import HMM

TOKENIZER = tiny_tokenizer()
EOS = cast(int, TOKENIZER.eos_token_id)
BOTH = Keywords(["dog", "park"]) & WordCount(2, 5)


def test_a_small_constraint_is_one_automaton() -> None:
    found = ctrlg.explain(BOTH, TOKENIZER, max_new_tokens=12)
    assert found.exact and found.states == found.nodes == BOTH.compile(TOKENIZER).num_states
    assert [clause.name for clause in found.clauses] == ["contains dog", "contains park", "2 to 5 words"]
    assert all(clause.in_core for clause in found.clauses)
    assert found.table_bytes == 0 and found.hidden_states is None
    assert found.fewest_tokens == BOTH.compile(TOKENIZER).shortest_length()


def test_parts_are_listed_with_what_the_core_took_in() -> None:
    found = ctrlg.explain(BOTH, TOKENIZER, max_new_tokens=12, max_states=1)
    assert not found.exact and "more than 1 states" in found.reason
    assert found.clauses[2].in_core and found.nodes > found.states
    alone = [part.compile(TOKENIZER).num_states for part in (Keywords(["dog"]), Keywords(["park"]), WordCount(2, 5))]
    assert [clause.states for clause in found.clauses] == alone


@pytest.mark.parametrize("max_states", [1, 2000])
def test_as_many_tokens_as_are_enough_are_enough(max_states: int) -> None:
    found = ctrlg.explain(BOTH, TOKENIZER, max_new_tokens=12, max_states=max_states)
    model = tiny_language_model(len(TOKENIZER), eos_token_id=EOS)
    generator = Generator(model, TOKENIZER, max_states=max_states)
    (text,) = generator(BOTH, max_new_tokens=found.fewest_tokens, num_beams=2)
    assert text.satisfied and len(text.token_ids) <= found.fewest_tokens


def test_tables_are_those_of_a_generator() -> None:
    torch.manual_seed(0)
    hmm = HMM(4, len(TOKENIZER), EOS)
    model = tiny_language_model(len(TOKENIZER), eos_token_id=EOS)
    found = ctrlg.explain(BOTH, Generator(model, TOKENIZER, hmm), max_new_tokens=12)
    assert found == ctrlg.explain(BOTH, TOKENIZER, hmm, max_new_tokens=12)
    assert found.hidden_states == 4
    assert found.table_bytes < ctrlg.explain(BOTH, TOKENIZER, hmm, max_new_tokens=24).table_bytes


def test_alternatives_are_named_and_nondeterministic_ones_marked() -> None:
    either: Constraint = Count(["dog"], 9) | Count(["park"], 9)
    found = ctrlg.explain(either, TOKENIZER, max_new_tokens=40, max_states=1)
    (clause,) = found.clauses
    assert [one.name for one in clause.alternatives] == ["dog at least 9 times", "park at least 9 times"]
    shown = str(ctrlg.explain(At(-9, ["dog"]), TOKENIZER, max_new_tokens=40, max_states=100))
    assert "(nondeterministic)" in shown and "word 9 from the end" in shown


def test_the_table_has_a_row_for_every_part() -> None:
    shown = str(ctrlg.explain(BOTH & Exclude("a | b"), TOKENIZER, max_new_tokens=12))
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4 and all(row.replace("\\|", "").count("|") == 5 for row in rows)
    assert "one automaton" in shown and "1 to 12 tokens" in shown


def test_what_cannot_be_explained_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no range"):
        ctrlg.explain(BOTH, TOKENIZER, min_new_tokens=9, max_new_tokens=4)
    with pytest.raises(BudgetError, match="at least"):
        ctrlg.explain(BOTH, TOKENIZER, max_new_tokens=1)


def test_the_command_explains_instead_of_writing() -> None:
    outcome = run_command("generate", "--keywords", "horse", "--words", "4..9", "--explain")
    assert outcome.error is None
    assert "| contains horse | 1 |" in outcome.stdout and "hidden states" in outcome.stdout
    assert "nats" not in outcome.stdout
