"""The text before or after a separator, such as the word "but"."""

from __future__ import annotations

import abc
import re
from dataclasses import dataclass

from ctrlg.arguments import checked
from ctrlg.automata.dfa import DFA
from ctrlg.constraints.base import Constraint, Target, combine, count_levels, within_budget
from ctrlg.constraints.exclusion import Exclude
from ctrlg.constraints.keywords import Keywords
from ctrlg.constraints.places.pieces import Pieces, any_of, in_order
from ctrlg.constraints.words import STRICT, occurrences
from ctrlg.defaults import EXACT_STATES
from ctrlg.errors import ConstraintError
from ctrlg.parts import NFA


@dataclass(frozen=True)
class _Side(Constraint):
    """One side of the first run without white space that holds the separator."""

    separator: str
    constraint: Constraint

    def __post_init__(self) -> None:
        if len(self.separator.split()) != 1:
            raise ConstraintError(f"the separator {self.separator!r} is no word", hint="a single word, as 'but'")
        count_levels(self, [self.constraint])

    def holds(self, text: str) -> bool:
        """See Constraint."""
        for run in re.finditer(r"\S+", text):
            if any(occurrences(run[0], [self.separator], STRICT)):
                return self.constraint.holds(self._side(text, run.start(), run.end()))
        return False

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint. Contents whose prefix or suffix holds the separator first are not accepted."""
        # However small the whole has to be, its pieces serve others, too.
        roomy = target._replace(max_states=max(target.max_states, EXACT_STATES))
        found = self._contents(Pieces(roomy), kept)
        if not kept:
            found.append(Exclude(self.separator).automaton(target))
        whole = any_of(found)
        if whole is None:
            return combine((), target, kept=True, every=False)
        return within_budget(whole.determinized(target.max_states), self, target)

    @abc.abstractmethod
    def _side(self, text: str, start: int, end: int) -> str:
        """The text that the constraint is about; the separator's word is text[start:end]."""

    @abc.abstractmethod
    def _contents(self, pieces: Pieces, kept: bool) -> list[DFA | NFA]:
        """Contents with the separator that keep the constraint, or break it."""

    def _separator(self, pieces: Pieces) -> DFA:
        # A single run, so that nothing beside it can stand on either side.
        return pieces.run(Keywords([self.separator]))


@checked
@dataclass(frozen=True)
class Before(_Side):
    """The separator occurs, and the text before it keeps a constraint: `Before("but", Keywords(["dog"]))`.

    The first run without white space that holds the separator counts, whatever else it holds. The white space before it
    belongs to neither side.

    Args:
        separator: a single word.
        constraint: about the text before it.

    Raises:
        ConstraintError: the separator is no single word.
    """

    def _side(self, text: str, start: int, end: int) -> str:
        return text[:start].rstrip()

    def _contents(self, pieces: Pieces, kept: bool) -> list[DFA | NFA]:
        own = self.constraint if kept else ~self.constraint
        whole = [pieces.bare_begin(own & Exclude(self.separator)), self._separator(pieces)]
        found: list[DFA | NFA] = [in_order(*whole, pieces.rest())]
        return [*found, in_order(*whole)] if pieces.nothing_behind else found

    def __str__(self) -> str:
        return f"before {self.separator!r}: {self.constraint}"


@checked
@dataclass(frozen=True)
class After(_Side):
    """The separator occurs, and the text after it keeps a constraint: `After("but", Keywords(["dog"]))`.

    The first run without white space that holds the separator counts, whatever else it holds. The text after it begins
    with the white space behind it.

    Args:
        separator: a single word.
        constraint: about the text after it.

    Raises:
        ConstraintError: the separator is no single word.
    """

    def _side(self, text: str, start: int, end: int) -> str:
        return text[end:]

    def _contents(self, pieces: Pieces, kept: bool) -> list[DFA | NFA]:
        before = pieces.begin(Exclude(self.separator))
        return [in_order(before, self._separator(pieces), pieces.last(self.constraint, kept=kept))]

    def __str__(self) -> str:
        return f"after {self.separator!r}: {self.constraint}"
