"""Automata as plain dictionaries, read by hand: what the real ones are held against."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ctrlg.automata import DFA

LONGEST = 6

String = tuple[int, ...]


def strings(symbols: int, longest: int = LONGEST) -> list[String]:
    """All strings up to a length, the shortest first."""
    return [s for length in range(longest + 1) for s in itertools.product(range(symbols), repeat=length)]


@dataclass(frozen=True)
class Plain:
    """Transitions (state, symbol) -> state, some perhaps missing; a missing one ends the reading."""

    symbols: int
    states: int
    step: dict[tuple[int, int], int]
    accepted: frozenset[int]

    def end(self, string: Iterable[int], state: int = 0) -> int | None:
        for symbol in string:
            if (state, symbol) not in self.step:
                return None
            state = self.step[state, symbol]
        return state

    def language(self, longest: int = LONGEST, state: int = 0) -> set[String]:
        return {s for s in strings(self.symbols, longest) if self.end(s, state) in self.accepted}

    def graph(self, name: str = "int") -> dict[str, Any]:
        """The dictionary of edges; states named by numbers or, with "tuple", by pairs."""
        names = [state if name == "int" else (state, "s") for state in range(self.states)]
        masks: dict[tuple[int, int], np.ndarray] = {}
        for (source, symbol), target in self.step.items():
            mask = masks.setdefault((source, target), np.zeros(self.symbols, dtype=bool))
            mask[symbol] = True
        return {
            "edges": [(names[source], names[target], mask) for (source, target), mask in masks.items()],
            "initial_state": names[0],
            "accept_states": {names[state] for state in self.accepted},
        }

    def dfa(self) -> DFA:
        """Built here, not by the library: every symbol its own class, a dead state at the end."""
        delta = np.full((self.states + 1, self.symbols), self.states)
        for (source, symbol), target in self.step.items():
            delta[source, symbol] = target
        accepting = np.array([state in self.accepted for state in range(self.states + 1)])
        return DFA(np.arange(self.symbols), delta, 0, accepting)


@st.composite
def plains(draw: st.DrawFn, symbols: int = 2, most_states: int = 5, complete: bool | None = None) -> Plain:
    states = draw(st.integers(1, most_states))
    whole = draw(st.booleans()) if complete is None else complete
    target = st.integers(0, states - 1) if whole else st.none() | st.integers(0, states - 1)
    step = {
        (state, symbol): reached
        for state in range(states)
        for symbol in range(symbols)
        if (reached := draw(target)) is not None
    }
    return Plain(symbols, states, step, draw(st.frozensets(st.integers(0, states - 1))))


def language(dfa: DFA, longest: int = LONGEST) -> set[String]:
    return {s for s in strings(dfa.vocab_size, longest) if dfa.accepts(s)}


def same(first: DFA, second: DFA) -> bool:
    """Whether two automata are the same arrays."""
    return (
        first.initial == second.initial
        and np.array_equal(first.class_of, second.class_of)
        and np.array_equal(first.delta, second.delta)
        and np.array_equal(first.accepting, second.accepting)
    )
