"""Texts without line breaks, tabs and gaps."""

from __future__ import annotations

import pytest

from ctrlg.constraints import OneLine, WordCount
from ctrlg.errors import UnsatisfiableError
from ctrlg.vocabulary.token_bytes import Vocabulary

CASES = [
    (" a dog", ".", True),
    (" a dog\n", ".", False),
    (" a\tdog", ".", False),
    (" a  dog", ".", False),
    (" a dog ", " here.", False),
    (" a dog ", "here.", True),
    (" a\u00a0dog", ".", False),
    (" the “dog”", ".", True),
    ("", ".", True),
]


@pytest.mark.parametrize(("content", "suffix", "kept"), CASES)
def test_white_space(content: str, suffix: str, kept: bool, vocabulary: Vocabulary) -> None:
    assert OneLine().holds(content + suffix) == kept
    (ids,) = vocabulary.spell([content])
    assert OneLine().compile(vocabulary, suffix=suffix).accepts(ids or ()) == kept
    assert (~OneLine()).compile(vocabulary, suffix=suffix).accepts(ids or ()) == (not kept)


def test_a_prefix_of_two_lines_cannot_be_mended(synthetic: Vocabulary) -> None:
    with pytest.raises(UnsatisfiableError, match="one line"):
        OneLine().compile(synthetic, prefix="a\nb")


def test_it_combines(synthetic: Vocabulary) -> None:
    dfa = (OneLine() & WordCount(2, 2)).compile(synthetic, suffix=".")
    assert dfa.accepts(synthetic.spell([" a dog"])[0] or ())
    assert not dfa.accepts(synthetic.spell([" a\ndog"])[0] or ())
