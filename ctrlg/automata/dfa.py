"""A deterministic finite automaton over token classes: the form every constraint takes before decoding sees it.

Tokens that behave alike in every state share a class, so a step is `delta[state, class_of[token]]` and every
algorithm works on a few dozen classes instead of the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ctrlg.arguments import refused
from ctrlg.automata import concatenation, intersection, minimization
from ctrlg.automata.table import Automaton


class DFA(Automaton):
    """An `Automaton` with its algebra: `&`, `|`, `~`, `then`, `minimize` and `forbid`.

    Args:
        class_of: int32 [V], the class of every token, in [0, K). Classes without a token are dropped.
        delta: int32 [S, K], the next state, in [0, S).
        initial: the start state.
        accepting: bool [S]; a token string is accepted when its run ends in such a state.

    Raises:
        ConstraintError: arrays of other shapes or numbers outside their range.
    """

    def forbid(self, token_ids: Iterable[int]) -> DFA:
        """The same automaton, some tokens leading to a dead state.

        Args:
            token_ids: these tokens.

        Raises:
            VocabularyError: an id out of range.
        """
        return intersection.forbid(self, token_ids)

    def __and__(self, other: DFA) -> DFA:
        """Accepts what both accept.

        Raises:
            VocabularyError: vocabularies differ in size.
            BudgetError: more than `ctrlg.automata.intersection.MAX_STATES` states are needed.
        """
        return intersection.intersect([self, _operand("&", other)])

    def __or__(self, other: DFA) -> DFA:
        """Accepts what either accepts.

        Raises:
            VocabularyError: vocabularies differ in size.
            BudgetError: more than `ctrlg.automata.intersection.MAX_STATES` states are needed.
        """
        return ~intersection.intersect([~self, ~_operand("|", other)])

    # Called for operands that are not automata: their own operators would raise another error.
    def __rand__(self, other: Any) -> DFA:
        return _operand("&", other) & self

    def __ror__(self, other: Any) -> DFA:
        return _operand("|", other) | self

    def then(self, other: DFA) -> DFA:
        """Accepts every string this one accepts followed by one the other accepts (either may be empty).

        Args:
            other: an automaton over the same vocabulary.

        Raises:
            VocabularyError: vocabularies differ in size.
            BudgetError: more than `ctrlg.automata.intersection.MAX_STATES` states, or too many sets of states, are
                needed.
        """
        return concatenation.concatenate(self, _operand("then", other))

    def minimize(self) -> DFA:
        """The smallest automaton for the same strings; its arrays are equal where the strings are."""
        return minimization.minimize(self)


def _operand(operator: str, value: Any) -> DFA:
    if not isinstance(value, DFA):
        raise refused(f"an operand of {operator}", value, "a DFA; ctrlg.automata.as_dfa makes one of Ctrl-G's graphs")
    return value
