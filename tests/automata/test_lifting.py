"""A lifted automaton says of tokens what the text automaton says of their characters."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.errors import ConstraintError
from ctrlg.vocabulary.characters import SYMBOLS, symbols_of
from ctrlg.vocabulary.token_bytes import Vocabulary

TOKENS = (b"a", b"b", b"ab", b"ba", b"aab", b"\xc3", b"\xa9", "aé".encode(), None, b"eos")
CLASS_OF = np.zeros(SYMBOLS, dtype=np.int32)
CLASS_OF[[ord("a"), ord("b"), ord("é"), *symbols_of(b"\xc3"), *symbols_of(b"\xa9")]] = [1, 2, 3, 4, 5]
EVERYTHING = TextDFA(np.zeros(SYMBOLS, np.uint8), np.zeros((1, 1), np.int32), 0, np.array([True]))


@st.composite
def text_automata(draw: st.DrawFn) -> TextDFA:
    states = draw(st.integers(1, 5))
    row = st.lists(st.integers(0, states - 1), min_size=6, max_size=6)
    delta = draw(st.lists(row, min_size=states, max_size=states))
    accepting = draw(st.lists(st.booleans(), min_size=states, max_size=states))
    return TextDFA(CLASS_OF, np.array(delta, dtype=np.int32), draw(st.integers(0, states - 1)), np.array(accepting))


@given(text=text_automata(), prefix=st.sampled_from(["", "a", "bé"]), suffix=st.sampled_from(["", "b", "éa"]))
@settings(deadline=None, max_examples=40)
def test_equals_the_text_automaton_on_every_token_string(text: TextDFA, prefix: str, suffix: str) -> None:
    vocabulary = Vocabulary(TOKENS, eos_token_id=9)
    lifted = lift(text, vocabulary, prefix=prefix, suffix=suffix)
    for length in range(3):
        for ids in itertools.product(range(8), repeat=length):
            symbols = [symbol for token in ids for symbol in symbols_of(TOKENS[token] or b"")]
            whole = [*map(ord, prefix), *symbols, *map(ord, suffix)]
            assert lifted.accepts(ids) == text.accepting[text.run(whole)]


@given(text=text_automata(), data=st.data())
@settings(deadline=None, max_examples=40)
def test_settles_where_tokens_end(text: TextDFA, data: st.DataObject) -> None:
    states = len(text.delta)
    settle = data.draw(st.lists(st.integers(0, states - 1), min_size=states, max_size=states))
    settling = dataclasses.replace(text, settle=np.array(settle))
    lifted = lift(settling, Vocabulary(TOKENS, eos_token_id=9))
    for ids in itertools.product(range(8), repeat=2):
        here = text.initial
        for token in ids:
            here = settle[text.run(symbols_of(TOKENS[token] or b""), here)]
        assert lifted.accepts(ids) == text.accepting[here]


def test_what_is_no_content_is_dead() -> None:
    lifted = lift(EVERYTHING, Vocabulary(TOKENS, eos_token_id=9))
    assert lifted.accepts([]) and lifted.accepts([0, 5, 6])
    for token in (8, 9):
        assert not lifted.accepts([token]) and lifted.shortest_length(lifted.run([token])) is None


def test_a_vocabulary_without_content_leaves_the_empty_text() -> None:
    lifted = lift(EVERYTHING, Vocabulary((None, None), eos_token_id=0))
    assert lifted.accepts([]) and not lifted.accepts([1])


def test_many_states_and_tokens_fall_into_exact_classes() -> None:
    """Counts letters modulo 200: more states than are lifted at once, and tokens of ten lengths."""
    modulus = 200
    delta = np.array([[count, (count + 1) % modulus] for count in range(modulus)], dtype=np.int32)
    counter = TextDFA((CLASS_OF == 1).astype(np.int32), delta, 0, np.arange(modulus) == 0)
    vocabulary = Vocabulary((None, *(b"a" * (1 + place % 10) for place in range(50))), eos_token_id=0)
    lifted = lift(counter, vocabulary)
    assert lifted.num_classes == 11
    random = np.random.default_rng(0)
    for _ in range(50):
        ids = random.integers(1, 51, size=random.integers(30, 50)).tolist()
        letters = sum(1 + (token - 1) % 10 for token in ids)
        assert lifted.accepting[lifted.run(ids)] == (letters % modulus == 0)


def test_arrays_that_do_not_fit_are_refused() -> None:
    delta, accepting = np.zeros((1, 2), np.int32), np.array([True])
    with pytest.raises(ConstraintError, match=r"shape \[3\]"):
        TextDFA(np.zeros(3, np.uint8), delta, 0, accepting)
    with pytest.raises(ConstraintError, match="classes up to 5"):
        TextDFA(CLASS_OF, delta, 0, accepting)
    with pytest.raises(ConstraintError, match="do not fit 1 states"):
        TextDFA(EVERYTHING.class_of, delta, 0, accepting, np.array([0, 0]))
