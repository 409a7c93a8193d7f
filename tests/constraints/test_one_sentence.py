"""`OneSentence`: what is a sentence's punctuation, and what is not."""

from __future__ import annotations

import pytest

from ctrlg.constraints import OneSentence


@pytest.mark.parametrize(
    "text",
    [
        "A dog runs in the park.",
        "At 3.5 miles, the dog (a hound) stopped!",
        'He said, "come here"',
        "A well-known dog's 24/7 life costs $5, or 10%, a day.",
        "",
        "Été, 狗。 and more.",
    ],
)
def test_one_sentence(text: str) -> None:
    assert OneSentence().holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "A dog. A park.",
        "A dog ran ...",
        "on the horizon.>.>.>. street.",
        "A dog, , and a park.",
        "A dog - - a park.",
        ", a dog.",
        "  . dog",
        "A dog. ",
        "What?!",
    ],
)
def test_more_or_less_than_a_sentence(text: str) -> None:
    assert not OneSentence().holds(text)
