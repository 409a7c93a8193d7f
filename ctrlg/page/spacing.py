"""Where a visitor's text ends in a space, what is written begins with one.

Tokens carry the space before a word, so a language model continues "A dog" well and "A dog " badly. The space is taken
off the text before it is read, and this constraint brings it back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctrlg.arguments import checked
from ctrlg.automata.dfa import DFA
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.constraints.base import Constraint, Target
from ctrlg.vocabulary.characters import SYMBOLS

_START, _SPACED, _BROKEN = range(3)


@checked
@dataclass(frozen=True)
class _SpaceAfter(Constraint):
    """The text goes on with a space after its beginning, which is the prefix."""

    beginning: str

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return text.startswith(f"{self.beginning} ")

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        class_of = np.zeros(SYMBOLS, dtype=np.uint8)
        class_of[ord(" ")] = 1
        delta = np.array([[_BROKEN, _SPACED], [_SPACED, _SPACED], [_BROKEN, _BROKEN]], dtype=np.int32)
        accepting = np.array([False, kept, not kept])
        return lift(TextDFA(class_of, delta, _START, accepting), target.vocabulary).minimize()

    def __str__(self) -> str:
        return "a space after your text"


def with_space_after(beginning: str) -> Constraint:
    """The constraint that a text goes on with a space after this beginning."""
    return _SpaceAfter(beginning)
