"""Random constraints written in parts: every text keeps its constraint, and nothing gets stuck."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any, cast

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.constraints import (
    After,
    Apart,
    At,
    Before,
    Constraint,
    Count,
    CountParity,
    EndsWith,
    Exclude,
    Keywords,
    WordCount,
)
from ctrlg.errors import BudgetError, ConstraintError, UnsatisfiableError
from ctrlg.generation import generate, generate_many
from ctrlg.generation.compiled import Place, compiled
from ctrlg.generation.prepared import PreparedConstraints
from ctrlg.hmm import HMM
from ctrlg.look_ahead.content import content_automaton
from ctrlg.look_ahead.reachability import Reachability
from ctrlg.parts import Factored
from ctrlg.vocabulary.token_bytes import Vocabulary

TOKENIZER = tiny_tokenizer()
EOS: int = cast(int, TOKENIZER.eos_token_id)
MODEL = tiny_language_model(len(TOKENIZER))
VOCABULARY = Vocabulary.of(TOKENIZER)
WORDS = ["dog", "park", "run", "the", "s", "Dog", "café"]
AFFIXES = [("", ""), ("", "."), ("The ", "."), ("the dog", " run."), ("do", "g"), ("“", "s.")]
COUNT = int(os.environ.get("RANDOM_CONSTRAINTS", "80"))  # RANDOM_CONSTRAINTS=5000 takes ten minutes


@pytest.fixture(scope="module")
def hmm() -> HMM:
    torch.manual_seed(1)
    return HMM(4, len(TOKENIZER), EOS)


def leaf(chance: random.Random) -> Constraint:
    words = chance.sample(WORDS, chance.randint(1, 2))
    word, number = words[0], chance.randint(1, 3)
    kinds = [
        lambda: Keywords(words),
        lambda: Keywords([words]),
        lambda: Exclude(words),
        lambda: WordCount(number, number + chance.randint(0, 3)),
        lambda: Count(words, chance.randint(0, 2), chance.choice([None, 2, 3])),
        lambda: CountParity(words, even=chance.random() < 0.5),
        lambda: At(chance.choice([-3, -2, -1, 1, 2, 3]), words),
        lambda: Apart(words, number),
        lambda: EndsWith(word),
    ]
    return chance.choice(kinds)()


def tree(chance: random.Random, levels: int) -> Constraint:
    """Constraints in constraints, at most so many levels deep."""
    kind = chance.random()
    if levels == 0 or kind < 0.25:
        return leaf(chance)
    if kind < 0.6:
        return tree(chance, levels - 1) & tree(chance, levels - 1)
    if kind < 0.8:
        return tree(chance, levels - 1) | tree(chance, levels - 1)
    if kind < 0.9:
        return ~tree(chance, levels - 1)
    side = chance.choice([Before, After])
    return side(chance.choice(["the", "run"]), tree(chance, levels - 1))


def has_negated_apart(error: ConstraintError) -> bool:
    return "has no automaton" in str(error)


def exactly_possible(constraint: Constraint, place: Place) -> bool:
    """Whether the one automaton accepts a content within the tokens; False where there is no such automaton."""
    try:
        found = compiled(constraint, VOCABULARY, place, 20_000)
        if isinstance(found.dfa, Factored):
            return False
        Reachability(content_automaton(found.dfa & found.mask, EOS), [place.token_range])
    except (UnsatisfiableError, BudgetError):
        return False
    return True


def attempt(seed: int, hmm: HMM) -> str:
    """One random constraint in parts, or as one automaton where it is small, and what came of it."""
    chance = random.Random(seed)
    constraint = tree(chance, chance.randint(1, 3))
    prefix, suffix = chance.choice(AFFIXES)
    least = chance.choice([1, 1, 4])
    options: dict[str, Any] = {
        "min_new_tokens": least,
        "max_new_tokens": least + chance.randint(4, 14),
        "prefix": prefix,
        "suffix": suffix,
        "num_return_sequences": 3,
    } | chance.choice([{"num_beams": 3}, {"num_beams": None, "do_sample": True, "seed": seed}])
    if chance.random() < 0.8:
        options["max_states"] = 1
    try:
        results = generate(MODEL, TOKENIZER, hmm if chance.random() < 0.7 else None, constraint, **options)
    except (UnsatisfiableError, BudgetError):
        place = Place(prefix, suffix, not prefix, (least, options["max_new_tokens"]), False)
        return "refused, yet possible" if exactly_possible(constraint, place) else "refused"
    except ConstraintError as error:
        assert has_negated_apart(error), constraint
        return "negated"
    assert results, (seed, str(constraint))
    for result in results:
        assert result.satisfied and constraint.holds(result.text), (seed, str(constraint), result.text)
        assert least <= len(result.token_ids) <= options["max_new_tokens"]
        assert result.text.startswith(prefix) and result.text.endswith(suffix)
    return "written"


@pytest.mark.parametrize("part", range(4))
def test_random_constraints_are_kept(part: int, hmm: HMM) -> None:
    outcomes = Counter(attempt(seed, hmm) for seed in range(part, COUNT, 4))
    assert outcomes["written"] > COUNT / 4 / 4
    assert outcomes["refused, yet possible"] <= COUNT / 4 / 20


PARTS = Keywords(["dog", "park", "run"]) & WordCount(3, 6)
SMALL = Exclude(["dog"])
SHORT: dict[str, Any] = {"suffix": " run.", "max_new_tokens": 16, "num_beams": 4, "num_return_sequences": 4}


def test_without_an_hmm_more_parts_are_looked_at_together(hmm: HMM) -> None:
    many = Keywords(WORDS[:5]) & CountParity(["dog", "run"], even=False) & WordCount(3, 40)
    place = Place("", "", True, (1, 60), False)
    cores = []
    for guide in (hmm, None):
        (prepared,) = PreparedConstraints(guide, 30, 0).prepare(VOCABULARY, [many], [place])
        assert isinstance(prepared.constraint.dfa, Factored)
        cores.append(prepared.constraint.dfa.core.num_states)
    assert cores[1] > cores[0]


@pytest.mark.parametrize("guided", [True, False])
def test_one_automaton_and_parts_stand_side_by_side(hmm: HMM, guided: bool) -> None:
    place = Place("", " run.", True, (1, 16), False)
    states = 30
    kinds = [isinstance(compiled(one, VOCABULARY, place, states).dfa, Factored) for one in (SMALL, PARTS)]
    assert kinds == [False, True]
    guide = hmm if guided else None
    together = generate_many(MODEL, TOKENIZER, guide, [SMALL, PARTS, SMALL], max_states=states, **SHORT)
    for constraint, results in zip([SMALL, PARTS, SMALL], together, strict=True):
        alone = generate(MODEL, TOKENIZER, guide, constraint, max_states=states, **SHORT)
        assert [one.text for one in results] == [one.text for one in alone]
        assert results and all(one.satisfied and constraint.holds(one.text) for one in results)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"min_new_tokens": 12},
        {"num_beams": None, "do_sample": True, "seed": 2, "temperature": 0.7},
        {"strength": 3.0},
        {"strength": 0.2, "prefix": "the ", "suffix": ""},
        {"prefix": "the do", "suffix": "ark the dog run."},
        {"soft_mask": True},
        {"soft_mask": True, "num_beams": None, "do_sample": True, "seed": 2},
    ],
    ids=str,
)
def test_parts_under_every_option(hmm: HMM, options: dict[str, Any]) -> None:
    results = generate(MODEL, TOKENIZER, hmm, PARTS, max_states=1, **(SHORT | options))
    assert results
    for result in results:
        assert result.satisfied == PARTS.holds(result.text)
        assert result.satisfied or "soft_mask" in options
        assert options.get("min_new_tokens", 1) <= len(result.token_ids) <= 16


def test_what_the_parts_refuse_says_what_to_do(hmm: HMM) -> None:
    with pytest.raises(BudgetError, match=r"needs at least \d+ tokens, max_new_tokens is 1") as refused:
        generate(MODEL, TOKENIZER, hmm, PARTS, max_states=1, max_new_tokens=1)
    assert "max_new_tokens to" in str(refused.value.hint)
    with pytest.raises(UnsatisfiableError) as broken:
        generate(MODEL, TOKENIZER, hmm, PARTS & Exclude("dog"), max_states=1)
    assert broken.value.hint
