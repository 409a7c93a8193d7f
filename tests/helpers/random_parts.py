"""Random constraints in parts over the tokens of `decoding_oracle`, and the one automaton that is their product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from ctrlg.automata.algebra import product
from ctrlg.automata.classes import joint
from ctrlg.automata.dfa import DFA
from ctrlg.automata.paths import distances_in
from ctrlg.parts import NFA, Factored, alternatives, sequence
from ctrlg.parts.factored import Clause, at_least
from ctrlg.parts.graph import Graph
from ctrlg.parts.states import JointStates
from helpers.decoding_oracle import EOS, VOCAB, avoids, contains, dfas


@dataclass(frozen=True)
class Parts:
    """A constraint in parts.

    Args:
        clauses: of it.
        mask: has to accept as well.
        least, most: tokens of a content.
        most_nodes: what the core may grow to.
    """

    clauses: tuple[Clause, ...]
    mask: DFA
    least: int
    most: int
    most_nodes: int

    @cached_property
    def factored(self) -> Factored:
        """The parts over classes of their own and of the mask."""
        parts = Factored.of(self.clauses, VOCAB, self.most_nodes)
        if self.least:
            parts = parts.also(at_least(self.least, VOCAB))
        return parts.over(*self._classes(parts)[:2])

    def states(self) -> JointStates:
        """New joint states; none but the first is numbered."""
        class_of, _, of_mask = self._classes(self.factored)
        mask = DFA(class_of, self.mask.delta[:, of_mask], self.mask.initial, self.mask.accepting)
        return JointStates(self.factored, Graph.of(self.factored), mask, EOS, self.most)

    @cached_property
    def whole(self) -> DFA:
        """One automaton for everything, without any token alike, so that end of text has a class of its own."""
        every = [product([deterministic(one) for one in clause], "union") for clause in self.clauses]
        one = product([*every, self.mask, at_least(self.least, VOCAB)]).minimize()
        return DFA(np.arange(VOCAB), one.delta[:, one.class_of], one.initial, one.accepting)

    @cached_property
    def distances(self) -> np.ndarray:
        """Fewest content tokens from each state of `whole` to acceptance."""
        return distances_in(np.delete(self.whole.delta, EOS, axis=1), self.whole.accepting)

    def _classes(self, parts: Factored) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return joint(parts.class_of, self.mask.class_of, parts.num_classes, self.mask.num_classes)


def deterministic(automaton: DFA | NFA) -> DFA:
    return automaton if isinstance(automaton, DFA) else automaton.determinized(10_000)


@st.composite
def nondeterministic(draw: st.DrawFn) -> NFA:
    first, second = draw(dfas(max_states=3)), draw(dfas(max_states=3))
    return draw(st.sampled_from([sequence, alternatives]))([first, second])


@st.composite
def settling(draw: st.DrawFn) -> DFA:
    """Accepts contents in which a pattern occurs."""
    return contains(*draw(st.lists(st.integers(0, VOCAB - 2), min_size=1, max_size=3))).minimize()


def automata() -> st.SearchStrategy[DFA | NFA]:
    return st.one_of(settling(), dfas().map(DFA.minimize), nondeterministic())


@st.composite
def parts(
    draw: st.DrawFn,
    clauses: Sequence[Clause] | None = None,
    most: int | None = None,
    most_nodes: int | None = None,
    masked: bool = True,
) -> Parts:
    """Constraints of one to four clauses, each of one to three alternatives, or of the given ones."""
    if clauses is None:
        one = st.lists(automata(), min_size=1, max_size=3).map(tuple)
        clauses = draw(st.lists(one, min_size=1, max_size=4))
    most = draw(st.integers(0, 6)) if most is None else most
    return Parts(
        clauses=tuple(clauses),
        mask=draw(dfas(max_states=3)) if masked and draw(st.booleans()) else avoids(),
        least=min(most, draw(st.sampled_from([0, 0, 2]))),
        most=most,
        most_nodes=draw(st.sampled_from([0, 6, 1_000])) if most_nodes is None else most_nodes,
    )
