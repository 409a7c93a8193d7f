"""Patterns mean what they mean to `re`, over all of Unicode; what is not regular is refused by name and position."""

from __future__ import annotations

import json
import random
import re
import warnings
from pathlib import Path

import pytest
from helpers.regular.random_patterns import patterns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctrlg.errors import BudgetError, ConstraintError
from ctrlg.regular import ANYTHING, Language, Repeat, Sequence, language_of, literal, parsed
from ctrlg.regular.character_sets import cased
from ctrlg.regular.language import combined
from studies.language.texts import POOL, matches, near

pytestmark = pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")


def language(pattern: str) -> Language:
    return language_of(parsed(pattern))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(patterns(), st.integers(0, 2**32))
def test_as_re_says(pattern: str, seed: int) -> None:
    found = language(pattern)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in near(found, random.Random(seed), 8):
            assert (text in found) == matches(pattern, text), (pattern, text)


@pytest.mark.parametrize(
    "pattern",
    [
        r"a$\n?", r"(?m)a$\n^b", r"\A\Z", r"\B", r"\b", r"(\b|a)*", r"(?m)(^a?$\n?)*", r"a$b|a\n", r"$\n", r"(a$)\n\Z",
        r"(?i)k", r"(?i)[^k]", r"(?i)[a-z]", r"(?i)\u0130", r"(?i)[\u00e9-\u00ff]", r"(?ai)k", r"(?i)[^\W\d_]",
        r"(?i:a)b", r"(?i)(?-i:a)b", r"(?a)\w", r"(?a:\w)\w", r"(?x) a b # c", r"[]a]", r"[^]a]", r"[a\]]", r"\141\x61",
        r"(?P<x>a)b", r"a{,2}", r"a{2,}", r"x{0}", r"(|a)+", r"()*", r"(?s:.).", r"(?#c)a", r"a{b", r"\N{DIGIT ONE}",
    ],
)  # fmt: skip
def test_corners_of_the_syntax(pattern: str) -> None:
    found = language(pattern)
    source = random.Random(0)
    texts = ["", "\n", "a", "a\n", "a\n\n", "a\nb", "k", "\u212a", "ab", "aA", "Ab", "aa", "{", "]", "_", "\u00c9"]
    for text in [*texts, *near(found, source, 60), *POOL]:
        assert (text in found) == matches(pattern, text), text


@pytest.mark.parametrize(
    ("pattern", "name", "position"),
    [
        (r"x(?=y)y", "look-ahead", 1),
        (r"x(?!y)", "look-ahead", 1),
        (r"(?<=a)b", "look-behind", 0),
        (r"ab(?<!c)", "look-behind", 2),
        (r"(a)\1", "back-reference", 3),
        (r"(?P<n>a)-(?P=n)", "back-reference", 9),
        (r"(a)?(?(1)b|c)", "conditional group", 4),
        (r"[(?=]\(?=(?=a)", "look-ahead", 9),
        ("(?x) # (?=\n  a(?=b)", "look-ahead", 14),
        (r"(?#(?=)a(?=b)", "look-ahead", 8),
        (r"(a)\101\\\1", "back-reference", 9),
    ],
)  # fmt: skip
def test_what_is_not_regular_is_refused_by_name_and_position(pattern: str, name: str, position: int) -> None:
    with pytest.raises(ConstraintError, match=f"{name} at position {position},"):
        parsed(pattern)


@pytest.mark.skipif("sys.version_info < (3, 11)", reason="new in Python 3.11")
@pytest.mark.parametrize(
    ("pattern", "name", "position"),
    [("ab*+", "possessive quantifier", 3), ("a{2}+b", "possessive quantifier", 4), ("a(?>b)", "atomic group", 1)],
)
def test_what_keeps_re_from_going_back_is_refused(pattern: str, name: str, position: int) -> None:
    with pytest.raises(ConstraintError, match=f"{name} at position {position},"):
        parsed(pattern)


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "*", "a{2,1}", "(?P<a>b)(?P<a>c)", "\\", "(?z)", "(" * 5000 + ")" * 5000]
)
def test_what_python_cannot_read_is_refused(pattern: str) -> None:
    with pytest.raises(ConstraintError):
        parsed(pattern)


@pytest.mark.parametrize(
    "pattern", [".{20000}", "(a|b)*a(a|b){30}", "((a{99}){99}){99}", "(a{0,999}){0,999}", r"(\b){99999999}"]
)
def test_what_takes_too_much_is_refused_before_memory_goes(pattern: str) -> None:
    with pytest.raises(BudgetError):
        language(pattern)


def test_nothing_is_repeated_once() -> None:
    found = language("(){99999999}a(){0,99999999}")
    assert "a" in found and "" not in found


def test_only_characters_with_another_case_are_asked_for() -> None:
    """`_members` asks `re` about case for these alone."""
    text = "".join(map(chr, (point for point in range(0x110000) if not 0xD800 <= point < 0xE000)))
    others = [character for character in text if character.lower() != character or character.upper() != character]
    assert all(character in cased() for character in others if len(character.lower()) == len(character.upper()) == 1)
    for character in "kK\u212as\u017f\u0345\u03b9\u1fbei\u0130\u0131\u00b5\u03bc\u1e9e":
        assert all(alike in cased() for alike in re.findall(character, text, re.IGNORECASE))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(patterns(), patterns(), st.integers(0, 2**32))
def test_the_algebra_of_languages(first: str, second: str, seed: int) -> None:
    one, other = language(first), language(second)
    both, either = combined([one, other], "intersection"), combined([one, other], "union")
    source = random.Random(seed)
    for text in near(one, source, 6) + near(other, source, 6):
        assert (text in both) == (text in one and text in other)
        assert (text in either) == (text in one or text in other)
        assert (text in ~one) == (text not in one)


def test_expressions_combine() -> None:
    found = language_of(Sequence((literal("a\n"), ANYTHING, Repeat(parsed("b+"), 2, 2))))
    assert "a\nbb" in found and "a\n\nxbbb" in found and "a\nb" not in found


def test_the_suite_of_patterns(shared_data: Path) -> None:
    lines = (shared_data / "suites" / "regex.jsonl").read_text(encoding="utf-8").splitlines()
    for case in map(json.loads, lines):
        if not case["regular"]:
            with pytest.raises(ConstraintError):
                parsed(case["pattern"])
            continue
        found = language(case["pattern"])
        assert [text for text, expected in case["texts"] if (text in found) != expected] == []
