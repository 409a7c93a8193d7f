"""A constraint as automata kept apart: a core, and clauses of which each has several alternatives.

    accepted = core and for every clause: some alternative

Nothing is multiplied but the core, so the size is the sum of the parts. The core is what the others are looked at
together with: how long the text is and what it may hold at all, as far as that stays small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.algebra import constant, product
from ctrlg.automata.classes import joint
from ctrlg.automata.dfa import DFA
from ctrlg.automata.intersection import intersect
from ctrlg.automata.paths import UNREACHABLE
from ctrlg.errors import BudgetError
from ctrlg.parts.nfa import NFA, joint_classes

Clause = Sequence[DFA | NFA]
"""Automata, one of which has to accept."""

MOST_NODES = 1_000
"""States of the core and its pairs with those of all alternatives, about: what the core may grow to."""

MOST_NODES_ALONE = 20_000
"""The same where no HMM needs a row for each: a larger core finds completions that parts apart do not."""

_SAMPLE = 3  # alternatives whose pairs are counted


@dataclass(frozen=True, eq=False)
class Factored:
    """Automata over joint classes of tokens.

    Args:
        class_of: int32 [V], the class of every token, in [0, K).
        core: reads these classes.
        alternatives: all alternatives of all clauses, over the same classes.
        clauses: of each clause its alternatives, by their places in `alternatives`.
    """

    class_of: NDArray[np.int32]
    core: DFA
    alternatives: tuple[NFA, ...]
    clauses: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, clauses: Sequence[Clause], vocab_size: int, most_nodes: int = MOST_NODES) -> Factored:
        """The clauses kept apart, but for those that the core takes in.

        Args:
            clauses: automata over one vocabulary; deterministic ones minimal.
            vocab_size: V.
            most_nodes: see MOST_NODES.
        """
        core, rest = core_of(clauses, vocab_size, most_nodes)
        flat = [as_nfa(one) for clause in rest for one in clause]
        class_of, own = joint_classes([core, *flat])
        over_joint = [
            NFA(class_of, one.delta[:, classes], one.initial, one.accepting, one.entered_with)
            for one, classes in zip(flat, own[1:], strict=True)
        ]
        ends = np.cumsum([len(clause) for clause in rest]).tolist()
        places = tuple(tuple(range(end - len(clause), end)) for clause, end in zip(rest, ends, strict=True))
        whole = DFA(class_of, core.delta[:, own[0]], core.initial, core.accepting)
        return cls(class_of, whole, tuple(over_joint), places)

    @property
    def vocab_size(self) -> int:
        return len(self.class_of)

    @property
    def num_classes(self) -> int:
        return self.core.num_classes

    @property
    def num_states(self) -> int:
        """The sum of the states of all automata."""
        return self.core.num_states + sum(one.num_states for one in self.alternatives)

    def accepts(self, ids: Iterable[int]) -> bool:
        """Whether the whole token string is accepted; ids in [0, V)."""
        ids = list(ids)
        return self.core.accepts(ids) and all(
            any(self.alternatives[place].accepts(ids) for place in clause) for clause in self.clauses
        )

    def also(self, automaton: DFA) -> Factored:
        """One more clause of one alternative."""
        class_of, own, of_new = joint(self.class_of, automaton.class_of, self.num_classes, automaton.num_classes)
        finer = self.over(class_of, own)
        more = NFA.of(DFA(class_of, automaton.delta[:, of_new], automaton.initial, automaton.accepting))
        clauses = (*self.clauses, (len(self.alternatives),))
        return replace(finer, alternatives=(*finer.alternatives, more), clauses=clauses)

    def over(self, class_of: NDArray[np.int32], own: NDArray[np.int64]) -> Factored:
        """The same automata over finer classes: `own` is the class here of each of them."""
        core = DFA(class_of, self.core.delta[:, own], self.core.initial, self.core.accepting)
        finer = tuple(replace(one, class_of=class_of, delta=one.delta[:, own]) for one in self.alternatives)
        return Factored(class_of, core, finer, self.clauses)


def at_least(tokens: int, vocab_size: int) -> DFA:
    """Accepts strings of at least so many tokens."""
    delta = np.minimum(np.arange(tokens + 1) + 1, tokens).astype(np.int32)[:, None]
    return DFA(np.zeros(vocab_size, np.int32), delta, 0, np.arange(tokens + 1) == tokens)


def multiplied(clauses: Sequence[Clause], max_states: int) -> DFA:
    """All clauses as one minimal automaton. BudgetError beyond max_states states on the way."""
    automata = [
        product([_deterministic(one, max_states) for one in clause], "union", max_states=max_states)
        if len(clause) > 1
        else _deterministic(clause[0], max_states)
        for clause in clauses
    ]
    return product(automata, max_states=max_states).minimize()


def _deterministic(automaton: DFA | NFA, max_states: int) -> DFA:
    return automaton if isinstance(automaton, DFA) else automaton.determinized(max_states)


def core_of(clauses: Sequence[Clause], vocab_size: int, most_nodes: int = MOST_NODES) -> tuple[DFA, list[Clause]]:
    """The product of some clauses, and the others.

    First come those that can still be broken whatever has been read, such as a number of words: they say how long a
    text is and what it may hold, on which all others depend. Then those that are kept for good once they are kept: the
    more of them are looked at together, the nearer the whole is to one automaton.
    """
    single = [clause for clause in clauses if len(clause) == 1 and isinstance(clause[0], DFA)]
    ordered = sorted(single, key=lambda clause: (_settles(clause[0]), clause[0].num_states))
    core = constant(True, vocab_size)
    rest = list(clauses)
    for clause in ordered:
        others = [one for one in rest if one is not clause]
        try:
            larger = intersect([core, *(one for one in clause if isinstance(one, DFA))], most_nodes).minimize()
        except BudgetError:
            continue
        if nodes_of(larger, others) <= most_nodes:
            core, rest = larger, others
    return core, rest


def nodes_of(core: DFA, clauses: Sequence[Clause]) -> int:
    """States of the core, and pairs of them and those of each alternative, about: counted for a few of them."""
    automata = sorted((one for clause in clauses for one in clause), key=lambda one: one.num_states)
    sample = automata[:: max(1, len(automata) // _SAMPLE)]
    share = sum(len(reached_pairs(core, as_nfa(one))) for one in sample) / max(1, sum(map(_size, sample)))
    return core.num_states + round(share * sum(map(_size, automata)))


def reached_pairs(core: DFA, automaton: NFA) -> NDArray[np.int64]:
    """The pairs of a state of each, as the core's * S + the automaton's, that some content reaches from which both can
    still accept, and where the automaton does not accept whatever follows."""
    if core.num_classes != automaton.num_classes or core.class_of is not automaton.class_of:
        class_of, own, others = joint(core.class_of, automaton.class_of, core.num_classes, automaton.num_classes)
        core = DFA(class_of, core.delta[:, own], core.initial, core.accepting)
        automaton = replace(automaton, class_of=class_of, delta=automaton.delta[:, others])
    width = automaton.num_states
    dead = np.append(core.distances() == UNREACHABLE, automaton.distances() == UNREACHABLE)
    settled = automaton.settled
    seen = np.zeros(core.num_states * width, dtype=bool)
    together = [np.array(states, dtype=np.int64) for states in automaton.together]
    codes = np.array([core.initial * width + state for state in automaton.start()], dtype=np.int64)
    while len(codes):
        states, own = codes // width, codes % width
        live = ~dead[states] & ~dead[core.num_states + own] & ~settled[own] & ~seen[codes]
        codes = codes[live]
        seen[codes] = True
        following = core.delta[codes // width].astype(np.int64) * width + automaton.delta[codes % width]
        codes = np.unique(following)
        if any(automaton.entered_with):
            entered = [code - code % width + together[code % width] for code in codes.tolist()]
            codes = np.unique(np.concatenate([codes[:0], *entered]))
    return np.flatnonzero(seen)


def as_nfa(automaton: DFA | NFA) -> NFA:
    """The same automaton as a nondeterministic one."""
    return automaton if isinstance(automaton, NFA) else NFA.of(automaton)


def _settles(automaton: DFA | NFA) -> bool:
    """Whether some accepting state is never left."""
    return bool(as_nfa(automaton).settled.any())


def _size(automaton: DFA | NFA) -> int:
    return automaton.num_states
