"""Constraints that are regular languages: `holds`, written by plain means, and the automaton say the same."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from helpers.random_inputs.contents import contents, finished

from ctrlg.constraints import (
    CapitalWords,
    Case,
    CharacterCount,
    Choice,
    Constraint,
    EndsWith,
    Exclude,
    Keywords,
    LetterCount,
    Lines,
    OneLine,
    OneSentence,
    Ordered,
    ParagraphCount,
    Regex,
    SentenceCount,
    StartsWith,
    WordCount,
)
from ctrlg.constraints.base import Target
from ctrlg.constraints.patterns.languages import texts_of
from ctrlg.constraints.patterns.regular import RegularConstraint
from ctrlg.errors import ArgumentError, ConstraintError
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.language.texts import near

REGULAR: list[RegularConstraint] = [
    Choice(["yes", "no", "no way", "", "nowhere", "\u72d7"]),
    StartsWith(["The ", "Then", "\u00e9"]),
    StartsWith("dog"),
    CharacterCount(3, 9),
    CharacterCount(4),
    LetterCount("s", 2, 4),
    LetterCount("\u00e9", 0, 1),
    LetterCount("!", 1),
    LetterCount("\u212a", 1),
    Case("lower"),
    Case("upper"),
    CapitalWords(1, 2),
    CapitalWords(0, 0),
    CapitalWords(2),
    Lines(None, 2, 3),
    Lines(WordCount(1, 2), 1, 3),
    Lines(~Keywords(["dog"]) & Regex(r"[^\d]*"), 2),
    ParagraphCount(2, 3),
    ParagraphCount(0, 1),
    ParagraphCount(0, 0),
    ParagraphCount(1),
    SentenceCount(1),
    SentenceCount(2, 3),
]
OTHERS: list[Constraint] = [
    WordCount(2, 4),
    WordCount(0, 0),
    WordCount(0, 2),
    WordCount(3),
    OneLine(),
    OneSentence(),
    Keywords(["dog", ["hot cat", "3"]]),
    Keywords(["art"], whole_word=False),
    Keywords([]),
    Ordered(["dog", ["s", "3"], "\u00e9t\u00e9"]),
    Ordered(["kiss", "."]),
    Ordered(["-", "-"]),
    Exclude(["dog", "hot cat"]),
    Exclude("7"),
    Exclude("\u72d7", whole_word=False),
    EndsWith(["the park", "?", "3"]),
    ~Keywords(["dog"]) | WordCount(1, 1),
    Keywords(["dog"]) & WordCount(1, 3),
]
WORDS = (
    "dog",
    "Dog",
    "dogs",
    "hot cat",
    "HOT",
    "kiss",
    "3",
    "\u00e9t\u00e9",
    "the park",
    "\u212aISS",
    "\u72d7",
    "art",
    "Mr",
    "end",
    "7",
)
SIGNS = (
    " ",
    " ",
    " ",
    ". ",
    "! ",
    "? ",
    "\n",
    "\n\n",
    "\n \n",
    ", ",
    "-",
    ".",
    '" ',
    "'",
    "\u00a0",
    "3.5",
    "_",
    ". \u201cSo ",
    "\u00b2",
)


def texts(constraint: Constraint, count: int) -> list[str]:
    """Texts near those that keep the constraint, and texts made of words and signs."""
    source = random.Random(str(constraint))
    found = near(texts_of(constraint), source, count)
    for _ in range(count):
        parts = [source.choice(source.choice((WORDS, SIGNS))) for _ in range(source.randrange(8))]
        found.append("".join(parts) + source.choice(("", ".", "!", "?")))
    return found


@pytest.mark.parametrize("constraint", [*REGULAR, *OTHERS], ids=str)
def test_the_language_is_what_holds(constraint: Constraint) -> None:
    language = texts_of(constraint)
    outcomes = set()
    for text in texts(constraint, 300):
        outcomes.add(constraint.holds(text))
        assert (text in language) == constraint.holds(text), text
    assert True in outcomes


@pytest.mark.parametrize("constraint", REGULAR, ids=str)
def test_tokens_say_what_the_text_says(constraint: Constraint, synthetic: Vocabulary) -> None:
    for prefix, suffix in [("", ""), ("The ", "."), ("do", "g\n")]:
        for kept in (True, False):
            dfa = (constraint if kept else ~constraint).automaton(Target(synthetic, prefix, suffix))
            for ids in contents(synthetic, ("dog", "kiss"), 200):
                text = finished(synthetic, prefix, ids, suffix)
                assert not dfa.accepts(ids) or constraint.holds(text) == kept


@pytest.mark.parametrize(
    ("constraint", "kept", "broken"),
    [
        (Choice(["yes", "no"]), ["yes", "no"], ["", "yes ", "yesno"]),
        (StartsWith("Dear "), ["Dear ", "Dear Ada"], ["dear Ada", "Dear"]),
        (CharacterCount(2, 3), ["ab", "\U0001f44d\u00e9a"], ["a", "abcd"]),
        (LetterCount("e", 2, 3), ["eE", "tree fe"], ["e", "eeee"]),
        (Case("upper"), ["A 1", "\u00c9T\u00c9!"], ["1", "Aa", "\u01c5"]),
        (CapitalWords(1, 1), ["a I b", "OK, yes"], ["NASA's", "I A", ""]),
        (Lines(WordCount(1, 2), 2, 2), ["a\nb c", "a \n b"], ["a", "a\nb\nc", "a\n", "a b c\nd"]),
        (ParagraphCount(2, 2), ["a\nb\n\nc", "\n\na\n \t\n\nb\n"], ["a\nb", "a\n\nb\n\nc", ""]),
        (
            SentenceCount(2, 2),
            ["One dog. Two dogs!", 'He said "go." I went.', "It costs 3.5 dollars. (Really?)", "A b cd.\n\nEf!"],
            ["One dog.", "Mr. Smith left. He ran.", "In 1999. He left.", "So... He left.", "Hm?! Yes.", "a b c. De."],
        ),
    ],
    ids=str,
)
def test_by_example(constraint: Constraint, kept: Sequence[str], broken: Sequence[str]) -> None:
    assert [text for text in kept if not constraint.holds(text)] == []
    assert [text for text in broken if constraint.holds(text)] == []


def test_in_english() -> None:
    assert [str(constraint) for constraint in REGULAR[3:12]] == [
        "3 to 9 characters",
        "at least 4 characters",
        "the letter 's' 2 to 4 times",
        "the letter '\u00e9' at most 1 time",
        "the letter '!' at least 1 time",
        "the letter '\u212a' at least 1 time",
        "in lower case",
        "in upper case",
        "1 to 2 words in capitals",
    ]
    assert str(Lines(WordCount(1, 2), 3, 3)) == "3 lines, each: 1 to 2 words"
    assert str(Choice(["yes", "no"])) == "is 'yes' or 'no'"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Choice([]),
        lambda: StartsWith([]),
        lambda: CharacterCount(3, 2),
        lambda: LetterCount("ab", 1),
        lambda: LetterCount("", 1),
        lambda: Case("title"),  # type: ignore[arg-type]
        lambda: CapitalWords(-1),
        lambda: Lines(None, 0),
        lambda: Lines("a"),  # type: ignore[arg-type]
        lambda: ParagraphCount(2, 1),
        lambda: SentenceCount(0),
    ],
)
def test_refusals(make: Callable[[], Constraint]) -> None:
    with pytest.raises((ArgumentError, ConstraintError)):
        make()


def test_thousands_of_choices() -> None:
    texts = [f"{place:05d} of {place % 7}" for place in range(2000)]
    language = Choice(texts).language()
    assert all(text in language for text in texts[::50]) and "00003 of 4" not in language


def test_sentences_as_nltk_counts_them(shared_data: Path) -> None:
    nltk_data = pytest.importorskip("nltk.data")
    folder = str(shared_data / "suites" / "nltk_data")
    if folder not in nltk_data.path:
        nltk_data.path.append(folder)
    from nltk.tokenize.punkt import PunktTokenizer

    splitter = PunktTokenizer("english")
    constraint = SentenceCount(1)
    known = {word for word in splitter._params.abbrev_types if re.fullmatch(r"[^\W\d_]{2,}", word)}
    assert not any(constraint.holds(f"The {word}. Then.") for word in known)
    source = random.Random(0)
    counted = 0
    for text in [*near(constraint.language(), source, 500), *texts(constraint, 2500)]:
        if constraint.holds(text):
            count = len(splitter.tokenize(text))
            assert SentenceCount(count, count).holds(text), text
            counted += count > 1
    assert counted > 50
