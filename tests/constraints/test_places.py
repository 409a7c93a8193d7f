"""Counts, places and sides of separators: what they mean, how they read, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

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
    OneLine,
    OneSentence,
    WordCount,
)
from ctrlg.errors import ArgumentError, BudgetError, ConstraintError, UnsatisfiableError
from ctrlg.vocabulary.token_bytes import Vocabulary

DOG = Keywords(["dog"])


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        (Count("dog", 2), "dog at least 2 times"),
        (Count(["dog", "cat"], 1, 3), "dog/cat 1 to 3 times"),
        (Count("dog", 2, 2, inflect=True), "dog (inflected) 2 times"),
        (CountParity(["dog", "Dog", "cat"]), "dog/cat an even number of times"),
        (CountParity("dog", even=False), "dog an odd number of times"),
        (At(2, ["dog", "cat"]), "word 2 is 'dog' or 'cat'"),
        (At(-1, "dog"), "word 1 from the end is 'dog'"),
        (Apart(["dog", "cat"], 3), "dog/cat again 3 words later"),
        (Before("but", DOG), "before 'but': contains dog"),
        (After("but", ~DOG), "after 'but': not (contains dog)"),
    ],
    ids=str,
)
def test_reads_out(constraint: Constraint, text: str) -> None:
    assert str(constraint) == text
    assert str(~constraint) == f"not ({text})" and ~~constraint == constraint
    assert constraint == type(constraint)(*vars_of(constraint)) and hash(constraint) is not None


def vars_of(constraint: Constraint) -> list[object]:
    return [value for name, value in vars(constraint).items() if not name.startswith("_")]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Count([], 1), ConstraintError),
        (lambda: Count("", 1), ConstraintError),
        (lambda: Count("dog", 3, 2), ArgumentError),
        (lambda: Count("dog", -1), ArgumentError),
        (lambda: Count("dog", 1.5), ArgumentError),  # type: ignore[arg-type]
        (lambda: CountParity([]), ConstraintError),
        (lambda: CountParity("hot dog"), ConstraintError),
        (lambda: CountParity("don't"), ConstraintError),
        (lambda: At(0, "dog"), ArgumentError),
        (lambda: At(True, "dog"), ArgumentError),
        (lambda: At(1.0, "dog"), ArgumentError),  # type: ignore[arg-type]
        (lambda: At(1, []), ConstraintError),
        (lambda: At(1, ["dog", "hot dog"]), ConstraintError),
        (lambda: At(1, "!"), ConstraintError),
        (lambda: Apart("dog", 0), ArgumentError),
        (lambda: Apart([], 1), ConstraintError),
        (lambda: Apart("hot dog", 1), ConstraintError),
        (lambda: Apart(["dog", "—"], 1), ConstraintError),
        (lambda: Before("", DOG), ConstraintError),
        (lambda: Before("and so", DOG), ConstraintError),
        (lambda: Before("but", "dog"), ArgumentError),  # type: ignore[arg-type]
        (lambda: After(" ", DOG), ConstraintError),
    ],
)
def test_refused_with_a_hint(make: Callable[[], Constraint], error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        make()
    assert getattr(refused.value, "hint", None)


@pytest.mark.parametrize(
    ("constraint", "kept", "broken"),
    [
        (Count(["dog", "hot dog"], 2, 2), ["dog dog", "a hot dog, DOG!"], ["", "dog", "dogs dogs", "dog dog dog"]),
        (Count("dog", 0, 0), ["", "dogs", "dögs"], ["dog", "dog's"]),
        (CountParity("café"), ["", "café CAFÉ", "cafés"], ["cafe\u0301", "le café."]),
        (CountParity("狗", even=False), ["狗", "狗, 狗 狗"], ["", "狗狗", "狗 狗"]),
        (At(1, "dog"), ["dog", "— Dog's day", "hot-dog"], ["", "a dog", "dogs", "-"]),
        (At(-2, "été"), ["l' été fini", "ÉTÉ là —"], ["été", "", "été a b"]),
        (Apart("dog", 1), ["dog dog", "a Dog, dog-house"], ["dog", "dog a dog", "dogdog"]),
        (Apart(["a", "b"], 2), ["a x a", "b - x b"], ["a x b", "a a"]),
        (Before("but", DOG), ["dog but", "a dog, BUT no"], ["but dog", "dog", "", "cat but dog but"]),
        (Before("but", WordCount(0, 0)), ["but", "- but a"], ["a but", ""]),
        (After("but", DOG), ["but dog", "dog, but: dog"], ["dog but", "but", ""]),
        (After("but", ~DOG), ["dog but", "but but"], ["dog", "but a dog"]),
        (Before(";", DOG), ["dog ; cat", "the dog cat; dog"], ["cat; dog", "dog"]),
    ],
    ids=str,
)
def test_meaning(constraint: Constraint, kept: list[str], broken: list[str]) -> None:
    for text in kept:
        assert constraint.holds(text) and not (~constraint).holds(text), text
    for text in broken:
        assert not constraint.holds(text) and (~constraint).holds(text), text


@pytest.mark.parametrize(
    ("constraint", "accepted", "refused"),
    [
        (Before("but", ~OneLine()), ["a\nb but"], ["a\n but", "but\n", "a b\nbut c"]),
        (Before("but", OneSentence()), ["a. but b"], ["a. , but", "a.. but"]),
        (Before(";", Exclude("dog")), ["the cat ;", "a cat ; dog"], ["the dog ;", "dog ; cat", "the dog cat;"]),
        (After("but", ~OneLine()), ["a but b\nc", "a but\nb"], ["a but b", "a\nbut b"]),
        (After("but", OneSentence()), ["a but b."], ["a but , b", "a but , ."]),
        (After("but", EndsWith("dog")), ["a but a dog"], ["dog but a"]),
    ],
    ids=str,
)
def test_white_space_and_marks_belong_to_one_side(
    constraint: Constraint, accepted: list[str], refused: list[str], synthetic: Vocabulary
) -> None:
    dfa = constraint.compile(synthetic)
    for text in (*accepted, *refused):
        ids = synthetic.spell([text])[0] or ()
        assert dfa.accepts(ids) == constraint.holds(text) == (text in accepted), text


def test_a_letter_of_another_kind_counts_as_the_text_says() -> None:
    """The sign for kelvin is a k to regular expressions, and joins no word."""
    tokens = (None, None, *(character.encode() for character in "aiks \u212a"))
    vocabulary = Vocabulary(tokens, eos_token_id=1)
    for even in (True, False):
        dfa = CountParity("kiss", even=even).compile(vocabulary)
        for text in ("kiss", "\u212aiss", "a\u212aiss", "kiss\u212a", "\u212a kiss", "kiss kiss\u212aiss"):
            ids = [tokens.index(character.encode()) for character in text]
            assert CountParity("kiss", even=even).holds(text) or not dfa.accepts(ids), text


def test_prefix_and_suffix_decide_with_the_content(synthetic: Vocabulary) -> None:
    def accepts(constraint: Constraint, content: str, prefix: str = "", suffix: str = "") -> bool:
        return constraint.compile(synthetic, prefix=prefix, suffix=suffix).accepts(synthetic.spell([content])[0] or ())

    assert accepts(At(2, "dog"), " dog", prefix="A") and not accepts(At(2, "dog"), " dog", suffix="s")
    assert accepts(At(-3, "dog"), " dog", suffix=" is here.") and not accepts(At(-3, "dog"), " dog", suffix=" is")
    assert accepts(At(-1, "dog"), " dog", suffix=".")
    assert accepts(CountParity("dog"), " dog", prefix="dog") and not accepts(CountParity("dog"), "s dog", prefix="dog")
    assert accepts(Count("dog", 2), " a dog, dog") and not accepts(Count("dog", 2), " dog", suffix="s dog")
    assert accepts(Before("but", DOG), " dog but", prefix="The", suffix=".")
    with pytest.raises(UnsatisfiableError):
        At(1, "dog").compile(synthetic, prefix="A cat ")
    with pytest.raises(BudgetError) as refused:
        At(-12, "dog").compile(synthetic, max_states=500)
    assert refused.value.hint
    with pytest.raises(ConstraintError, match="has no automaton") as negated:
        (~Apart("dog", 1)).compile(synthetic)
    assert negated.value.hint


def test_of_an_empty_text_only_the_even_count_is_true() -> None:
    some = [Count("dog", 1), CountParity("dog", even=False), At(1, "dog"), At(-1, "dog"), Apart("dog", 1)]
    assert not any(one.holds("") for one in (*some, Before("but", ~DOG), After("but", ~DOG)))
    assert CountParity("dog").holds("") and Count("dog", 0).holds("") and Count("dog", 0, 1).holds("")
