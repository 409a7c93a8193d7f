"""Boolean algebra of several automata at once; `ctrlg.automata.intersection` builds the products.

A union is the complement of the product of complements, so it too stops expanding where its outcome is settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ctrlg.arguments import Positive, checked
from ctrlg.automata.dfa import DFA
from ctrlg.automata.intersection import MAX_STATES, intersect, require_vocabulary
from ctrlg.errors import ConstraintError, VocabularyError


@checked
def product(
    dfas: Sequence[DFA],
    mode: Literal["intersection", "union"] = "intersection",
    *,
    vocab_size: Positive | None = None,
    max_states: Positive = MAX_STATES,
) -> DFA:
    """The automaton that accepts what all of `dfas` accept, or what at least one does.

    Only reachable states are built, two automata at a time, the smallest first; what lies in between is minimized, the
    result of the last step is not. An empty intersection accepts everything and an empty union nothing, over
    `vocab_size` tokens.

    Args:
        dfas: automata over one vocabulary.
        mode: "intersection" or "union".
        vocab_size: needed without automata; otherwise checked.
        max_states: most states of a step.

    Raises:
        ArgumentError: another mode.
        ConstraintError: no automata and no vocab_size.
        VocabularyError: vocabularies differ in size.
        BudgetError: a step needs more than max_states states.
    """
    if mode == "union":
        return ~product([~dfa for dfa in dfas], vocab_size=vocab_size, max_states=max_states)
    if vocab_size is None and not dfas:
        raise ConstraintError(
            "an empty product does not know its vocabulary", hint="pass vocab_size, or at least one automaton"
        )
    if vocab_size is not None:
        for dfa in dfas:
            require_vocabulary(dfa, vocab_size)
        if not dfas:
            return constant(True, vocab_size)
    return intersect(dfas, max_states)


def constant(accepted: bool, vocab_size: int) -> DFA:
    """One state: accepts every token string, or none.

    Args:
        accepted: which of them.
        vocab_size: V, >= 1.

    Raises:
        VocabularyError: a vocabulary without tokens.
    """
    if vocab_size < 1:
        raise VocabularyError(f"vocab_size is {vocab_size}", hint="a vocabulary has at least one token")
    return DFA(np.zeros(vocab_size, np.int32), np.zeros((1, 1), np.int32), 0, np.array([accepted]))


def empty_string(vocab_size: int) -> DFA:
    """Accepts the empty string alone."""
    return DFA(np.zeros(vocab_size, np.int32), np.ones((2, 1), np.int32), 0, np.array([True, False]))
