"""Pieces of a text that begin where a word begins: what constraints about places in a text are put together from.

A *word* here is a run without white space that holds a letter or a digit, as `WordCount` counts them. A piece begins
with white space, or stands at the beginning of the text; so the seam between two pieces is never inside a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ctrlg.automata.dfa import DFA
from ctrlg.automata.intersection import intersect
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.constraints.base import AllOf, Constraint, Target
from ctrlg.constraints.words import STRICT, count_words, over_symbols, which
from ctrlg.parts import NFA, alternatives, sequence
from ctrlg.parts.compiled_once import compiled_once
from ctrlg.vocabulary.characters import CHARACTERS


@dataclass(frozen=True)
class Pieces:
    """Automata of pieces, for one place of the content. Tokens that are not content lead nowhere.

    Args:
        target: tokens, prefix, suffix and the largest automaton allowed.
    """

    target: Target

    def inside(self, constraint: Constraint, *, kept: bool = True) -> DFA:
        """A piece that keeps the constraint and begins with white space; other text stands before and behind it."""
        return self._spaced(constraint, self.target._replace(prefix="", suffix=""), kept)

    def first(self, constraint: Constraint, *, kept: bool = True) -> DFA:
        """A piece at the beginning of the text, without white space before it; other text stands behind it."""
        return self._spaced(constraint, self.target._replace(prefix="", suffix=""), kept, begins_with_space=False)

    def run(self, constraint: Constraint) -> DFA:
        """As `inside`, for a piece that is white space and then a single run without any."""
        return self._joined(self._alone(constraint, True), self._one_run())

    def begin(self, constraint: Constraint, *, kept: bool = True) -> DFA:
        """The prefix and a piece, whatever the piece begins with; other text stands behind it."""
        return constraint.automaton(self.target._replace(suffix=""), kept)

    def bare_begin(self, constraint: Constraint) -> DFA:
        """As `begin`, for a prefix and a piece that do not end with white space: the seam is where white space begins.
        Behind a constraint that white space can keep or break, no other split would do."""
        return self._joined(self.begin(constraint), self._bare())

    def last(self, constraint: Constraint, *, kept: bool = True) -> DFA:
        """A piece and the suffix, which together keep the constraint; the piece begins with white space."""
        return self._spaced(constraint, self.target._replace(prefix=""), kept)

    def anything(self) -> DFA:
        """Every content."""
        return AllOf(()).automaton(self.target._replace(prefix="", suffix=""))

    def rest(self) -> DFA:
        """Every piece that begins with white space."""
        return self.inside(AllOf(()))

    @property
    def nothing_before(self) -> bool:
        """Whether a word may begin where the content does: the prefix is empty or ends with white space."""
        return not self.target.prefix or self.target.prefix[-1].isspace()

    @property
    def nothing_behind(self) -> bool:
        """Whether a word that ends where the content does stays as it is: no letter of the suffix joins it."""
        run = self.target.suffix.split(maxsplit=1)[:1] if self.target.suffix[:1].strip() else []
        return not any(STRICT.kind_of(character) for part in run for character in part)

    @property
    def words_behind(self) -> int:
        """Words of the suffix, where nothing of it joins the content's last word."""
        return count_words(self.target.suffix)

    def _spaced(self, constraint: Constraint, place: Target, kept: bool, *, begins_with_space: bool = True) -> DFA:
        limit = self.target.max_states
        begins = compiled_once.get(
            ("begins", self.target.vocabulary, begins_with_space), limit, lambda: self._beginning(begins_with_space)
        )
        return compiled_once.get(
            ("piece", constraint, place._replace(max_states=0), kept, begins_with_space),
            limit,
            lambda: intersect([constraint.automaton(place, kept), begins], limit).minimize(),
        )

    def _beginning(self, with_space: bool) -> DFA:
        first, good, bad = range(3)
        delta = np.array([[bad, good], [good, good], [bad, bad]], dtype=np.int32)
        if not with_space:
            delta[first] = delta[first][::-1]
        text = TextDFA(_spaces(), delta, first, np.array([False, True, False]))
        return lift(text, self.target.vocabulary).minimize()

    def _one_run(self) -> DFA:
        first, space, run, bad = range(4)
        # On a character of a run, and on white space.
        delta = np.array([[bad, space], [run, space], [run, bad], [bad, bad]], dtype=np.int32)
        text = TextDFA(_spaces(), delta, first, np.array([False, False, True, False]))
        return lift(text, self.target.vocabulary).minimize()

    def _bare(self) -> DFA:
        text = TextDFA(_spaces(), np.array([[0, 1], [0, 1]], dtype=np.int32), 0, np.array([True, False]))
        return lift(text, self.target.vocabulary, prefix=self.target.prefix).minimize()


def any_of(automata: Sequence[DFA | NFA]) -> NFA | None:
    """What one of some automata accepts, those that accept nothing left out; None where none is left."""
    some = [one for one in automata if one.shortest_length() is not None]
    return alternatives(some) if some else None


def in_order(*automata: DFA | NFA) -> NFA:
    """What is accepted by automata one behind the other."""
    return sequence(automata)


@lru_cache(maxsize=1)
def _spaces() -> np.ndarray:
    return over_symbols(which(str.isspace)[:CHARACTERS].astype(np.uint8))
