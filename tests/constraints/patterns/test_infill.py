"""`Infill`: fixed text, and gaps that keep constraints of their own."""

from __future__ import annotations

import random

import pytest
from helpers.random_inputs.contents import finished, halves

from ctrlg.constraints import (
    Choice,
    Constraint,
    EndsWith,
    Exclude,
    Infill,
    Keywords,
    Ordered,
    Regex,
    WordCount,
)
from ctrlg.constraints.base import Target
from ctrlg.constraints.patterns.languages import texts_of
from ctrlg.errors import BudgetError, ConstraintError, UnsatisfiableError
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.language.texts import cut, near

CASES: list[Infill] = [
    Infill("The [gap] a [gap].", WordCount(1, 2)),
    Infill("[gap] and [gap]", [Keywords(["dog"]) & WordCount(1, 3), ~Keywords(["dog"]) & Regex("[a-z ]{2,9}")]),
    Infill("a[gap][gap]", [Choice(["x", "xy"]), Choice(["y", "yx"])]),
    Infill("_ dog _", [None, Ordered(["dog", "park"])], mark="_"),
    Infill("[gap]\n[gap]", [EndsWith("the park"), Exclude("dog") & WordCount(2)]),
]


@pytest.mark.parametrize("constraint", CASES, ids=str)
def test_the_language_is_what_holds(constraint: Infill) -> None:
    language = constraint.language()
    source = random.Random(0)
    words = ("The ", "dog", " a ", ".", " and ", "x", "y", " park", "\n", "the park", " dog ", " ")
    texts = near(language, source, 300)
    texts += ["".join(source.choice(words) for _ in range(source.randrange(8))) for _ in range(300)]
    outcomes = set()
    for text in texts:
        outcomes.add(constraint.holds(text))
        assert (text in language) == constraint.holds(text), text
    assert outcomes == {True, False}


@pytest.mark.parametrize("constraint", CASES, ids=str)
def test_tokens_say_what_the_text_says(constraint: Infill, vocabulary: Vocabulary) -> None:
    source = random.Random(1)
    kept = constraint.automaton(Target(vocabulary))
    broken = constraint.automaton(Target(vocabulary), kept=False)
    for text in near(constraint.language(), source, 60):
        ids = cut(text, vocabulary, source)
        if ids is None:
            continue
        if halves(vocabulary).isdisjoint(ids):
            assert kept.accepts(ids) == constraint.holds(text) != broken.accepts(ids)
        else:
            assert not (kept.accepts(ids) and not constraint.holds(text))
            assert not (broken.accepts(ids) and constraint.holds(text))


def test_beside_other_constraints_and_inside_of_others(synthetic: Vocabulary) -> None:
    constraint = Infill("The [gap].", WordCount(1, 2)) & Keywords(["park"])
    dfa = constraint.compile(synthetic, prefix="The ", suffix=".")
    (ids,) = synthetic.spell(["hot park"])
    assert ids is not None and dfa.accepts(ids) and constraint.holds(finished(synthetic, "The ", ids, "."))
    nested = Infill("([gap])", Infill("a [gap]", WordCount(1, 1)))
    assert nested.holds("(a dog)") and "(a dog)" in nested.language() and "(dog)" not in nested.language()
    with pytest.raises(UnsatisfiableError):
        Infill("[gap]", Choice([" a"])).compile(synthetic)


class Palindrome(Constraint):
    """Not regular."""

    def holds(self, text: str) -> bool:
        return text == text[::-1]

    def automaton(self, target: Target, kept: bool = True):  # noqa: ANN201
        raise NotImplementedError

    def __str__(self) -> str:
        return "a palindrome"


def test_refusals() -> None:
    with pytest.raises(ConstraintError, match="has no gap"):
        Infill("nothing to fill")
    with pytest.raises(ConstraintError, match="1 constraints for 2 gaps"):
        Infill("[gap] [gap]", [WordCount(1)])
    with pytest.raises(ConstraintError, match="cannot keep this constraint by itself: a palindrome"):
        Infill("a [gap]", Palindrome()).language()
    with pytest.raises(ConstraintError):
        texts_of(Palindrome())
    with pytest.raises(BudgetError):
        Infill(" ".join(["[gap]"] * 400), WordCount(2, 30)).language()
    assert str(CASES[0]) == "reads 'The [gap] a [gap].', [gap] being 1 to 2 words"
    assert "anything; contains dog, then park" in str(CASES[3])
