"""Constraints together: algebra, the form of the automaton, and errors that name the part to change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ctrlg.constraints import (
    AllOf,
    AnyOf,
    Constraint,
    EndsWith,
    Exclude,
    Keywords,
    Not,
    OneLine,
    OneSentence,
    Ordered,
    WordCount,
)
from ctrlg.errors import ArgumentError, BudgetError, ConstraintError, UnsatisfiableError, VocabularyError
from ctrlg.vocabulary.token_bytes import Vocabulary

DOG, PARK, NO_CAT, SHORT = Keywords(["dog"]), Keywords(["park"]), Exclude("cat"), WordCount(1, 3)


def test_reads_out() -> None:
    both = Keywords([["dog", "dogs"], "park"]) & WordCount(8, 12) & (NO_CAT | EndsWith("now"))
    assert str(both) == "contains dog/dogs + park and 8 to 12 words and (never 'cat' or ends with 'now')"
    assert str(~DOG) == "not (contains dog)"
    assert str(Ordered(["a", "b"], inflect=True)) == "contains a, then b (inflected)"
    assert [str(part) for part in both.parts()[:2]] == ["contains dog/dogs + park", "8 to 12 words"]
    assert DOG.parts() == [DOG]


@pytest.mark.parametrize("text", [None, 5, b"dog", ["dog"]])
def test_what_is_no_text_is_refused(text: Any) -> None:
    dog = Keywords(["dog"])
    constraints: list[Constraint] = [Ordered(["dog"]), Exclude("dog"), EndsWith("dog"), WordCount(1), OneLine()]
    for constraint in (
        dog,
        *constraints,
        OneSentence(),
        dog & WordCount(1),
        dog | WordCount(1),
        ~dog,
        AllOf(()),
        AnyOf(()),
    ):
        with pytest.raises(ArgumentError, match="holds: text is") as refused:
            constraint.holds(text)
        assert refused.value.hint
    with pytest.raises(ArgumentError, match="kept_spans: text is"):
        dog.kept_spans(text)


def nested(levels: int) -> Constraint:
    constraint: Constraint = DOG
    for _ in range(levels // 2):
        constraint = ~(constraint & PARK)
    return constraint


def test_constraints_in_constraints_work_to_a_depth_and_are_refused_beyond(synthetic: Vocabulary) -> None:
    deep = nested(100)
    assert deep.holds("the dog park") and not deep.holds("the park") and str(deep).count("not") == 50
    assert deep == nested(100) and hash(deep) == hash(nested(100)) and "Not" in repr(deep)
    dfa = deep.compile(synthetic)
    assert [dfa.accepts(ids or ()) for ids in synthetic.spell([" dog park", " park"])] == [True, False]
    assert copy.deepcopy(deep) == deep
    for deeper in (lambda: nested(3000), lambda: deep & DOG, lambda: DOG | deep, lambda: Not(deep)):
        with pytest.raises(ConstraintError, match="100 levels deep") as refused:
            deeper()
        assert refused.value.hint


def test_a_long_chain_is_one_level() -> None:
    chain = PARK
    for _ in range(1000):
        chain = chain & DOG
    assert chain.holds("a dog park") and str(chain).count("and") == 1000
    assert (~chain | DOG).holds("")


def test_algebra_of_text_checks() -> None:
    text = "A dog."
    assert (DOG & SHORT).holds(text) and not (DOG & PARK).holds(text) and (DOG | PARK).holds(text)
    assert not (~DOG).holds(text) and (~(DOG & PARK)).holds(text)
    assert ~~DOG is DOG


def test_equal_constraints_give_equal_automata(vocabulary: Vocabulary) -> None:
    pairs: list[tuple[Constraint, Constraint]] = [
        (Keywords(["dog", "park"]), DOG & PARK),
        (DOG & SHORT, SHORT & DOG),
        (~(NO_CAT | SHORT), ~NO_CAT & ~SHORT),
        (~(NO_CAT & SHORT), ~NO_CAT | ~SHORT),
        (~DOG, Exclude("dog")),
        (~~DOG, DOG),
    ]
    for first, second in pairs:
        left, right = first.compile(vocabulary, suffix="."), second.compile(vocabulary, suffix=".")
        assert (left.delta == right.delta).all() and (left.class_of == right.class_of).all()
        assert (left.accepting == right.accepting).all() and left.initial == right.initial


def test_minimal_and_dead_where_it_must_be(vocabulary: Vocabulary) -> None:
    for constraint in (DOG & SHORT & NO_CAT, ~(DOG & SHORT), DOG | PARK):
        dfa = constraint.compile(vocabulary)
        assert dfa.num_states == dfa.minimize().num_states
        for token, data in enumerate(vocabulary.token_bytes):
            if data is None:
                assert dfa.shortest_length(dfa.step(dfa.initial, token)) is None
                break
        else:
            pytest.fail("the vocabulary has no token that is no content")
        shortest = dfa.shortest_accepted()
        assert shortest is not None and constraint.holds(vocabulary.decode(shortest))


def test_impossible_parts_are_named(synthetic: Vocabulary) -> None:
    with pytest.raises(UnsatisfiableError) as refusal:
        (Keywords(["park", "dog"]) & Exclude("dog") & SHORT).compile(synthetic)
    assert "together: contains dog; never 'dog'" in refusal.value.message
    assert "park" not in refusal.value.message and "words" not in refusal.value.message
    with pytest.raises(UnsatisfiableError, match="no text can keep this: 1 to 3 words") as refusal:
        (DOG & SHORT).compile(synthetic, prefix="one two three four ")
    assert "prefix" in refusal.value.hint
    letters = Vocabulary((None, b"a", b"b", b" "), eos_token_id=0)
    with pytest.raises(UnsatisfiableError, match="no text can keep this: contains dog") as refusal:
        Keywords(["a", "dog"]).compile(letters)
    assert "vocabulary" in refusal.value.hint


def test_three_parts_can_conflict_where_no_two_do(synthetic: Vocabulary) -> None:
    with pytest.raises(UnsatisfiableError, match="contains dog; contains park; 1 words"):
        (Keywords(["dog", "park"]) & WordCount(1, 1) & Exclude("s")).compile(synthetic, prefix="\n", suffix="\n")


def test_the_budget_of_states_names_the_parts(synthetic: Vocabulary) -> None:
    with pytest.raises(BudgetError) as refusal:
        (Keywords(["dog", "park"]) & WordCount(8, 40)).compile(synthetic, max_states=100)
    assert "contains dog + park" in refusal.value.message and "8 to 40 words" in refusal.value.message
    with pytest.raises(BudgetError, match="8 to 40 words"):
        WordCount(8, 40).compile(synthetic, max_states=60)
    with pytest.raises(ArgumentError, match="max_states"):
        DOG.compile(synthetic, max_states=0)


def test_padded_vocabularies(gpt2: Vocabulary) -> None:
    padded = (DOG & SHORT).compile(gpt2.tokenizer, vocab_size=50304)
    assert padded.vocab_size == 50304
    assert padded.num_states == (DOG & SHORT).compile(gpt2).num_states
    assert padded.shortest_length(padded.step(padded.initial, 50300)) is None
    with pytest.raises(VocabularyError):
        DOG.compile(gpt2.tokenizer, vocab_size=50000)
