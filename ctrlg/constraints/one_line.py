"""White space as in a sentence: single spaces and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrlg.arguments import checked
from ctrlg.automata.dfa import DFA
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.constraints.base import Constraint, Target, within_budget
from ctrlg.constraints.words import over_symbols, which
from ctrlg.vocabulary.characters import CONTINUATION, completions
from ctrlg.vocabulary.token_bytes import Vocabulary

_OTHER, _SPACE, _STRAY, _DOUBTFUL, _TAIL, _SPACE_TAIL = range(6)  # classes of characters and their halves
_INSIDE, _BEHIND_SPACE, _IN_DOUBT, _BROKEN = range(4)  # states


@checked
@dataclass(frozen=True)
class OneLine(Constraint):
    """The whole text, prefix and suffix included, has no white space but single spaces: no line breaks, tabs or gaps.

    White space is likely and counts as no word: without this, a search that is short of good sentences fills the
    room between two fragments with empty lines.
    """

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return "  " not in text and not any(character.isspace() and character != " " for character in text)

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        delta = np.full((4, 6), _BROKEN, dtype=np.int32)
        live = [_INSIDE, _BEHIND_SPACE, _IN_DOUBT]
        delta[np.ix_(live, [_OTHER, _TAIL, _SPACE_TAIL])] = _INSIDE
        delta[[_INSIDE, _IN_DOUBT], _SPACE] = _BEHIND_SPACE
        delta[live, _DOUBTFUL] = _IN_DOUBT
        delta[_IN_DOUBT, _TAIL] = _IN_DOUBT
        if kept:
            delta[_IN_DOUBT, _SPACE_TAIL] = _BROKEN
        accepting = np.array([kept, kept, kept, not kept])
        text = TextDFA(_classes(target.vocabulary), delta, _INSIDE, accepting)
        return within_budget(lift(text, target.vocabulary, prefix=target.prefix, suffix=target.suffix), self, target)

    def __str__(self) -> str:
        return "one line"


def _classes(vocabulary: Vocabulary) -> NDArray[np.uint8]:
    """Class of every symbol. The first half of a character that might become white space leaves the text in doubt: then
    a byte that white space can end with breaks it, and the next whole character ends the doubt. Where the text must
    not be one line, the doubt does not count."""
    stray = over_symbols(which(str.isspace))
    class_of = np.where(stray, _STRAY, _OTHER).astype(np.uint8)
    class_of[ord(" ")] = _SPACE
    tails = {chr(point).encode()[-1] for point in np.flatnonzero(stray).tolist()}
    for byte in range(0x80, 0xC0):
        class_of[CONTINUATION + byte - 0x80] = _SPACE_TAIL if byte in tails else _TAIL
    for symbol in vocabulary.symbols.unfinished.tolist():
        points = completions(symbol)
        if stray[points.start : points.stop].any():
            class_of[symbol] = _DOUBTFUL
    return class_of
