"""From a constraint to what decoding follows: one automaton where that is small, else its parts kept apart."""

from __future__ import annotations

from ctrlg.automata.dfa import DFA
from ctrlg.constraints.base import Constraint, Target, unsatisfiable
from ctrlg.defaults import EXACT_STATES
from ctrlg.errors import BudgetError
from ctrlg.parts import Factored
from ctrlg.parts.factored import MOST_NODES, multiplied


def exact_or_factored(
    constraint: Constraint, target: Target, exact_states: int = EXACT_STATES, most_nodes: int = MOST_NODES
) -> DFA | Factored:
    """The contents that keep a constraint.

    Args:
        constraint: about the whole text.
        target: tokens, prefix, suffix and the largest automaton of a part.
        exact_states: most states of one automaton for the whole.
        most_nodes: what the core of the parts may grow to, see MOST_NODES.

    Raises:
        UnsatisfiableError: a part alone, or the one automaton, accepts nothing; the error names the parts.
        BudgetError: a part alone needs more than target.max_states states.
    """
    clauses = constraint.clauses(target)
    if any(all(one.shortest_length() is None for one in clause) for clause in clauses):
        raise unsatisfiable(constraint, target)
    try:
        dfa = multiplied(clauses, min(exact_states, target.max_states))
    except BudgetError:
        return Factored.of(clauses, len(target.vocabulary.token_bytes), most_nodes)
    if dfa.shortest_length() is None:
        raise unsatisfiable(constraint, target)
    return dfa
