"""Tokens cut into characters: halves included, nothing lost."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.vocabulary.characters import (
    CHARACTERS,
    CONTINUATION,
    REPLACEMENT,
    SYMBOLS,
    UNFINISHED,
    completions,
    symbols_of,
    token_symbols,
    unfinished_symbol,
)


@given(text=st.text(max_size=8))
@settings(deadline=None, max_examples=100)
def test_whole_text_is_its_code_points(text: str) -> None:
    assert symbols_of(text.encode()) == [ord(character) for character in text]


@given(data=st.binary(max_size=8))
@settings(deadline=None, max_examples=100)
def test_broken_text_reads_as_python_replaces_it(data: bytes) -> None:
    symbols = symbols_of(data)
    assert all(0 <= symbol < SYMBOLS for symbol in symbols)
    readable = "".join(chr(symbol) if symbol < CHARACTERS else "\ufffd" for symbol in symbols)
    assert readable == data.decode(errors="replace")
    assert all(symbol < UNFINISHED for symbol in symbols[:-1])


@given(character=st.characters(min_codepoint=0x80, exclude_categories=["Cs"]), data=st.data())
@settings(deadline=None, max_examples=100)
def test_halves_of_a_character(character: str, data: st.DataObject) -> None:
    encoded = character.encode()
    cut = data.draw(st.integers(1, len(encoded) - 1))
    assert symbols_of(encoded[:cut]) == [unfinished_symbol(encoded[:cut])]
    assert ord(character) in completions(unfinished_symbol(encoded[:cut]))
    assert symbols_of(encoded[cut:]) == [CONTINUATION + byte - 0x80 for byte in encoded[cut:]]


def test_completions_are_exactly_what_the_bytes_can_become() -> None:
    for lead in (b"\xc3", b"\xe2\x80", b"\xe4", b"\xf0\x9f\x98", b"\xf0\x9f"):
        points = completions(unfinished_symbol(lead))
        assert all(chr(point).encode().startswith(lead) for point in (points[0], points[-1]))
        for outside in (points[0] - 1, points[-1] + 1):
            assert not chr(outside).encode().startswith(lead)


def test_bytes_of_no_text_and_early_ends() -> None:
    assert symbols_of(b"\xff") == [REPLACEMENT]
    assert symbols_of(b"\xe2\x80A") == [REPLACEMENT, ord("A")]
    assert symbols_of(b"\xc0\x80") == [REPLACEMENT, CONTINUATION]


def test_tokens_advance_together() -> None:
    token_bytes = [b"a", None, b"dog", "é".encode(), b"\xc3", b"xy\xe2\x80"]
    tokens, columns, unfinished = token_symbols(token_bytes)
    assert sorted(tokens.tolist()) == [0, 2, 3, 4, 5]
    for place, token in enumerate(tokens.tolist()):
        read = [int(column[place]) for column in columns if place < len(column)]
        assert read == symbols_of(token_bytes[token] or b"")
    assert unfinished.tolist() == sorted([unfinished_symbol(b"\xc3"), unfinished_symbol(b"\xe2\x80")])
    assert all(np.diff([len(column) for column in columns]) <= 0)


def test_a_vocabulary_without_content() -> None:
    tokens, columns, unfinished = token_symbols([None, None])
    assert len(tokens) == len(columns) == len(unfinished) == 0
