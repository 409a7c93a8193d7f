"""The one definition of words that automata and text checks share."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.constraints.words import ANYWHERE, LENIENT, STRICT, occurrences, spellings, variants, words_of
from ctrlg.errors import ConstraintError


@given(text=st.text(alphabet="dog DOG_-.2é\u0301²狗'\n", max_size=12))
@settings(deadline=None, max_examples=100)
def test_strict_implies_python_word_boundaries_implies_lenient(text: str) -> None:
    python = {match.span() for match in re.finditer(r"\bdog\b", text, re.IGNORECASE)}
    strict, lenient = (set(occurrences(text, ["dog"], rule)) for rule in (STRICT, LENIENT))
    assert strict <= python <= lenient


@given(character=st.characters(max_codepoint=0x1FFF, categories=["L", "N"]))
@settings(deadline=None, max_examples=100)
def test_variants_are_what_python_ignores(character: str) -> None:
    assert character in variants(character)
    for other in variants(character):
        assert re.fullmatch(re.escape(character), other, re.IGNORECASE)
    assert variants("k") == {"k", "K", "\u212a"}


def test_kinds() -> None:
    assert [STRICT.kind_of(character) for character in "aé狗7_\u0301\u00ad²"] == [1] * 8
    assert [STRICT.kind_of(character) for character in " .-'\u2019—\u00a0\u00d7\U0001f600\ufffd"] == [0] * 10
    assert [LENIENT.kind_of(character) for character in "aé7\u03b3狗_²\u0301"] == [3, 3, 1, 2, 0, 0, 0, 0]
    assert [ANYWHERE.kind_of(character) for character in "a7"] == [0, 0]


def test_phrases() -> None:
    assert words_of("  hot \n dog ") == ("hot", "dog")
    assert spellings(["hot  dog", "café", "hot dog"]) == ("hot dog", "café", "cafe\u0301")
    with pytest.raises(ConstraintError):
        words_of(" ")


def test_occurrences_may_overlap() -> None:
    assert sorted(occurrences("a a a", ["a a"], STRICT)) == [(0, 3), (2, 5)]
    assert list(occurrences("aaa", ["aa"], ANYWHERE)) == [(0, 2), (1, 3)]
