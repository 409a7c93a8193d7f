"""How many words a text has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ctrlg.arguments import Natural, checked
from ctrlg.automata.dfa import DFA
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.constraints.base import Constraint, Target, combine, within_budget
from ctrlg.constraints.words import STRICT, count_words, over_symbols, which
from ctrlg.errors import ArgumentError, BudgetError
from ctrlg.vocabulary.characters import CONTINUATION, completions
from ctrlg.vocabulary.token_bytes import Vocabulary

_SIGN, _WORD, _SPACE, _UNFINISHED_SIGN, _UNFINISHED, _TAIL, _SPACE_TAIL = range(7)


@checked
@dataclass(frozen=True)
class WordCount(Constraint):
    """The whole text, prefix and suffix included, has lo to hi words.

    Words are separated by white space and hold a letter or a digit: "3.5", "U.S.", "1,000,000", "don't" and
    "well-known" are one word each, tabs and line breaks separate, "-" and "..." are no words. A word that begins in the
    prefix and ends in the content counts once.

    Args:
        lo: least words, >= 0.
        hi: most words, >= lo; None sets no upper limit.

    Raises:
        ArgumentError: unless 0 <= lo <= hi.
    """

    lo: Natural
    hi: Natural | None = None

    def __post_init__(self) -> None:
        if self.hi is not None and self.hi < self.lo:
            raise ArgumentError(f"{self.lo} to {self.hi} is no range of words", hint="0 <= lo <= hi, or hi=None")

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return self.lo <= count_words(text) and (self.hi is None or count_words(text) <= self.hi)

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        if not kept:
            # The opposite is at most lo - 1 words, or at least hi + 1: automata of their own, since both must err on
            # the safe side.
            fewer = [WordCount(0, self.lo - 1)] if self.lo else []
            more = [] if self.hi is None else [WordCount(self.hi + 1)]
            return combine([*fewer, *more], target, kept=True, every=False)
        most = self.lo if self.hi is None else self.hi
        states = 2 * (most - count_words(target.prefix)) + 1  # each count twice, between words and inside the last
        if states > target.max_states:
            raise BudgetError(
                f"{self}: needs {states:,} states, max_states is {target.max_states:,}",
                hint=f"leave out the upper limit or make it {target.max_states // 2 - 1:,} or less"
                if self.lo < target.max_states // 2
                else f"ask for {target.max_states // 2 - 1:,} words or less",
            )
        text = _counter(self.lo, self.hi, target.vocabulary)
        dfa = lift(text, target.vocabulary, prefix=target.prefix, suffix=target.suffix)
        return within_budget(dfa, self, target)

    def __str__(self) -> str:
        if self.hi is None:
            return f"at least {self.lo} words"
        return f"{self.lo} words" if self.lo == self.hi else f"{self.lo} to {self.hi} words"


def _counter(lo: int, hi: int | None, vocabulary: Vocabulary) -> TextDFA:
    """Counts words: state 2n is between words after n of them, 2n + 1 inside the n-th, the last state is dead.

    A character cut in two is in doubt. Between words, the first half is refused if a letter could come of it. Inside a
    word it is taken for anything but a space, and any byte that could make it one is refused.
    """
    # Without an upper limit, counting stops at lo: more words change nothing, and the last count leads to itself.
    most = lo if hi is None else hi
    dead = 2 * (most + 1)
    delta = np.full((dead + 1, 7), dead, dtype=np.int32)
    for count in range(most + 1):
        outside, inside = 2 * count, 2 * count + 1
        following = count + 1 if count < most else (most if hi is None else None)
        # What is not listed leads to the dead state: between words a half that may become a letter, inside a word a
        # byte that may end a space.
        delta[outside, [_SIGN, _SPACE, _UNFINISHED_SIGN, _TAIL, _SPACE_TAIL]] = outside
        delta[outside, _WORD] = dead if following is None else 2 * following + 1
        delta[inside, [_SIGN, _WORD, _UNFINISHED_SIGN, _UNFINISHED, _TAIL]] = inside
        delta[inside, _SPACE] = outside
    accepting = np.zeros(dead + 1, dtype=bool)
    # Both states of every count from lo on.
    accepting[2 * lo : dead] = True
    return TextDFA(_classes(vocabulary), delta, 0, accepting)


def _classes(vocabulary: Vocabulary) -> NDArray[np.uint8]:
    characters = _character_classes()
    class_of = characters.copy()
    space_tails = {chr(point).encode()[-1] for point in np.flatnonzero(characters == _SPACE).tolist()}
    # A character cut in two can become white space only with one of these as its last byte.
    for byte in range(0x80, 0xC0):
        class_of[CONTINUATION + byte - 0x80] = _SPACE_TAIL if byte in space_tails else _TAIL
    for symbol in vocabulary.symbols.unfinished.tolist():
        points = completions(symbol)
        words = (characters[points.start : points.stop] == _WORD).any()
        class_of[symbol] = _UNFINISHED if words else _UNFINISHED_SIGN
    return class_of


@lru_cache(maxsize=1)
def _character_classes() -> NDArray[np.uint8]:
    spaces = over_symbols(which(str.isspace))
    return np.where(spaces, _SPACE, np.where(STRICT.kinds, _WORD, _SIGN)).astype(np.uint8)
