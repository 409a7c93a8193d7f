"""What constraints that are regular languages have in common: exact automata, and exact ones of their opposites."""

from __future__ import annotations

import abc
from typing import ClassVar

from ctrlg.automata.algebra import MAX_STATES
from ctrlg.automata.dfa import DFA
from ctrlg.automata.lifting import lift
from ctrlg.constraints.base import Constraint, Target, named, within_budget
from ctrlg.regular import Expression, Language, language_of
from ctrlg.regular.halves import over_symbols


class RegularConstraint(Constraint):
    """A constraint that is kept by the texts of a regular language, and by no others.

    Its automaton accepts exactly the contents whose bytes are UTF-8 and whose text keeps it, however they are cut into
    tokens; that of its opposite exactly those whose text breaks it. Where `follows_halves` is False, a character that
    is cut in two is refused where it matters how it ends, which takes far fewer states.
    """

    follows_halves: ClassVar[bool] = True

    @abc.abstractmethod
    def expression(self) -> Expression:
        """The texts that keep the constraint."""

    def language(self, max_states: int = MAX_STATES) -> Language:
        """The texts that keep the constraint, as an automaton over characters.

        Args:
            max_states: most states on the way.

        Raises:
            BudgetError: more are needed.
        """
        return language_of(self.expression(), max_states, named(self))

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        language = self.language(target.max_states)
        return self.lifted(language if kept else ~language, target)

    def lifted(self, language: Language, target: Target) -> DFA:
        """The minimal automaton of contents whose text is in a language.

        Args:
            language: of whole texts.
            target: tokens, prefix, suffix and the largest automaton allowed.

        Raises:
            BudgetError: it would be larger.
        """
        text = over_symbols(language, target.vocabulary, exact=self.follows_halves)
        dfa = lift(text, target.vocabulary, prefix=target.prefix, suffix=target.suffix, name=named(self))
        return within_budget(dfa, self, target)
