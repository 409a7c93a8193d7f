"""Words as spaces and punctuation make them."""

from __future__ import annotations

import pytest

from ctrlg.constraints import WordCount
from ctrlg.constraints.words import count_words
from ctrlg.errors import ArgumentError, UnsatisfiableError
from ctrlg.vocabulary.token_bytes import Vocabulary


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \n", 0),
        ("one", 1),
        ("one two", 2),
        ("one\ttwo\nthree", 3),
        ("3.5 U.S. 1,000,000", 3),
        ("don't well-known café 狗", 4),
        ("wait - what ... now — “so”?", 4),
        ("a\u00a0b\u3000c\u2003d", 4),
        ("I ❤ 🦊 you ⁴", 2),
        ("(dog) 'cat' x_y", 3),
    ],
)
def test_counting(text: str, words: int, vocabulary: Vocabulary) -> None:
    assert count_words(text) == words
    (ids,) = vocabulary.spell([text])
    exact = WordCount(words, words)
    assert exact.holds(text) and not WordCount(words + 1).holds(text)
    if all(token in exact_tokens(vocabulary) for token in ids or ()):
        assert exact.compile(vocabulary).accepts(ids or ())
    assert not WordCount(words + 1).compile(vocabulary).accepts(ids or ())


def exact_tokens(vocabulary: Vocabulary) -> set[int]:
    """Tokens made of whole characters."""
    return {
        token
        for token, data in enumerate(vocabulary.token_bytes)
        if data and data.decode(errors="ignore").encode() == data
    }


def test_prefix_and_suffix_count_and_seams_join(vocabulary: Vocabulary) -> None:
    dfa = WordCount(3, 3).compile(vocabulary, prefix="A do", suffix="rk.")
    for content, kept in (("g pa", True), ("g", False), ("gpa pa", True), ("", False), (" g pa", False)):
        (ids,) = vocabulary.spell([content])
        assert dfa.accepts(ids or ()) == kept, content


def test_two_states_a_word(gpt2: Vocabulary) -> None:
    assert WordCount(8, 12).compile(gpt2).num_states == 26


def test_curly_quotes_cut_in_two_are_written(gpt2: Vocabulary) -> None:
    (ids,) = gpt2.spell([" don\u2019t “say” that"])
    assert ids is not None and any("\ufffd" in gpt2.decode([token]) for token in ids)
    assert WordCount(3, 3).compile(gpt2).accepts(ids)


def test_a_space_cut_in_two_cannot_hide_in_a_word(synthetic: Vocabulary) -> None:
    dfa = WordCount(0, 1).compile(synthetic)
    for space in ("\u2003", "\u00a0", "\u3000"):
        ids = [2 + byte for byte in f"a{space}b".encode()]
        assert synthetic.decode(ids) == f"a{space}b"
        assert not dfa.accepts(ids)


def test_refusals(synthetic: Vocabulary) -> None:
    for lo, hi in ((-1, 3), (4, 3)):
        with pytest.raises(ArgumentError, match=r"lo is -1|no range of words"):
            WordCount(lo, hi)
    with pytest.raises(UnsatisfiableError, match="0 to 2 words"):
        WordCount(0, 2).compile(synthetic, prefix="one two three ")
    with pytest.raises(UnsatisfiableError, match="not"):
        (~WordCount(0)).compile(synthetic)
