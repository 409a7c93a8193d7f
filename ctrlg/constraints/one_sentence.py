"""Punctuation as in one sentence: nothing after the mark that ends it, and no two marks in a row."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrlg.arguments import checked
from ctrlg.automata.dfa import DFA
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.constraints.base import Constraint, Target, within_budget
from ctrlg.vocabulary.characters import SYMBOLS

ENDS = ".!?"
"""What a sentence ends with; inside, only a letter, a digit or a character beyond ASCII may follow ("3.5", "U.S")."""

OPENING = "'\"()[]{}$%&@"
"""Marks that may stand beside others; the rest of ASCII's punctuation may not."""

MARKS = "".join(mark for mark in string.punctuation if mark not in ENDS + OPENING)

_ORDINARY, _SPACE, _END, _MARK, _BESIDE = range(5)  # classes of characters
_INSIDE, _BEHIND_END, _BEHIND_MARK, _BROKEN = range(4)  # states
_SPACES = " \t\n\r\f\v"
_CROWDED = re.compile(rf"(?:\A|[{re.escape(MARKS)}])[{_SPACES}]*[{re.escape(MARKS + ENDS)}]")
_GOES_ON = re.compile(rf"[{re.escape(ENDS)}](?=[\x00-\x7f])(?![A-Za-z0-9])")


@checked
@dataclass(frozen=True)
class OneSentence(Constraint):
    """The whole text, prefix and suffix included, is punctuated as one sentence.

    What ends a sentence stands at the end, a mark such as a comma is followed by a word, and the text begins with none.
    Marks and spaces are those of ASCII: `OneLine` beside it forbids other white space. Without this, a search that has
    to fill its number of words writes ". . ." or ", ,", or begins a second sentence for a word it has forgotten.
    """

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return _CROWDED.search(text) is None and _GOES_ON.search(text) is None

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        delta = np.full((4, 5), _BROKEN, dtype=np.int32)
        delta[[_INSIDE, _BEHIND_END, _BEHIND_MARK], _ORDINARY] = _INSIDE
        delta[_INSIDE, [_SPACE, _BESIDE]] = _INSIDE
        delta[_BEHIND_MARK, _SPACE], delta[_BEHIND_MARK, _BESIDE] = _BEHIND_MARK, _INSIDE
        delta[_INSIDE, _END], delta[_INSIDE, _MARK] = _BEHIND_END, _BEHIND_MARK
        accepting = np.array([kept, kept, kept, not kept])
        text = TextDFA(_classes(), delta, _BEHIND_MARK, accepting)
        return within_budget(lift(text, target.vocabulary, prefix=target.prefix, suffix=target.suffix), self, target)

    def __str__(self) -> str:
        return "one sentence"


def _classes() -> NDArray[np.uint8]:
    """Class of every symbol; halves of characters, which are beyond ASCII, are ordinary."""
    class_of = np.full(SYMBOLS, _ORDINARY, dtype=np.uint8)
    control = [chr(point) for point in range(128) if not chr(point).isalnum()]
    for characters, name in ((control, _BESIDE), (_SPACES, _SPACE), (ENDS, _END), (MARKS, _MARK)):
        class_of[[ord(character) for character in characters]] = name
    return class_of
