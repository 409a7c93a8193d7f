"""A regular language as a minimal automaton over characters.

Its "tokens" are intervals of code points that behave alike, so the algebra of token automata serves characters, too.
Unlike a constraint, which may err on one side, a language is exact: `~` is its complement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.algebra import MAX_STATES, product
from ctrlg.automata.dfa import DFA
from ctrlg.automata.lifting import TextDFA
from ctrlg.regular.character_sets import CharacterSet
from ctrlg.vocabulary.characters import CHARACTERS


@dataclass(frozen=True, eq=False)
class Language:
    """Texts that an automaton accepts.

    Args:
        starts: int64 [I], the first code point of every interval, ascending from 0.
        dfa: reads the number of the interval that each character is in; minimal.
    """

    starts: NDArray[np.int64]
    dfa: DFA

    @classmethod
    def of(cls, starts: NDArray[np.int64], dfa: DFA) -> Language:
        """The language of an automaton that need not be minimal; neighbors that behave alike become one interval."""
        minimal = dfa.minimize()
        first = np.append(True, minimal.class_of[1:] != minimal.class_of[:-1])
        joined = DFA(minimal.class_of[first], minimal.delta, minimal.initial, minimal.accepting)
        return cls(starts[first], joined)

    @classmethod
    def of_text(cls, text: TextDFA) -> Language:
        """What an automaton over symbols accepts of texts of whole characters."""
        classes = text.class_of[:CHARACTERS]
        starts = np.append(0, np.flatnonzero(classes[1:] != classes[:-1]) + 1)
        return cls.of(starts, DFA(classes[starts], text.delta, text.initial, text.accepting))

    def __contains__(self, text: str) -> bool:
        """Whether a text is in the language."""
        points = np.array(list(map(ord, text)), dtype=np.int64)
        return self.dfa.accepts((np.searchsorted(self.starts, points, side="right") - 1).tolist())

    def __invert__(self) -> Language:
        return Language(self.starts, ~self.dfa)

    def __and__(self, other: Language) -> Language:
        return combined([self, other], "intersection")

    def __or__(self, other: Language) -> Language:
        return combined([self, other], "union")

    def __sub__(self, other: Language) -> Language:
        return self & ~other

    def is_empty(self) -> bool:
        """Whether no text is in the language."""
        return self.dfa.shortest_length() is None

    def edges(self) -> list[tuple[int, CharacterSet, int]]:
        """From a state, with a character of the set, to a state; without states from which nothing is accepted."""
        dfa = self.dfa
        live = dfa.distances() < dfa.UNREACHABLE
        found: list[tuple[int, CharacterSet, int]] = []
        for state in np.flatnonzero(live).tolist():
            following = dfa.delta[state]
            found += [
                (state, self._characters((following == target).tobytes()), target)
                for target in np.unique(following[live[following]]).tolist()
            ]
        return found

    def members(self, most: int) -> list[str] | None:
        """Its texts, in order of their characters, where all are fewer than so many and no set of characters is large;
        else None."""
        edges: dict[int, list[tuple[CharacterSet, int]]] = {}
        for state, members, target in self.edges():
            edges.setdefault(state, []).append((members, target))
        found: list[str] = []
        waiting = [(self.dfa.initial, "")]
        while waiting:
            state, text = waiting.pop()
            # A path longer than there are states goes in a circle.
            if len(text) > self.dfa.num_states or len(found) + len(waiting) > most:
                return None
            found += [text] if self.dfa.accepting[state] else []
            for members, target in edges.get(state, []):
                ranges = list(zip(members.bounds[::2], members.bounds[1::2], strict=False))
                if 2 * len(ranges) < len(members.bounds) or sum(end - start for start, end in ranges) > most:
                    return None
                waiting += [(target, text + chr(point)) for start, end in ranges for point in range(start, end)]
        return sorted(found)

    def _characters(self, classes: bytes) -> CharacterSet:
        """The characters of some classes, bool [K] as bytes."""
        cache: dict[bytes, CharacterSet] = self.__dict__.setdefault("_sets", {})
        if classes not in cache:
            member = np.frombuffer(classes, dtype=bool)[self.dfa.class_of]
            changes = member != np.append(False, member[:-1])
            cache[classes] = CharacterSet(tuple(self.starts[changes].tolist()))
        return cache[classes]


def combined(
    languages: Sequence[Language], mode: Literal["intersection", "union"], max_states: int = MAX_STATES
) -> Language:
    """The texts in all of some languages, or in at least one.

    Args:
        languages: at least one.
        mode: "intersection" or "union".
        max_states: most states on the way.

    Raises:
        BudgetError: more states are needed.
    """
    starts = np.unique(np.concatenate([language.starts for language in languages]))
    aligned = [
        DFA(
            language.dfa.class_of[np.searchsorted(language.starts, starts, side="right") - 1],
            language.dfa.delta,
            language.dfa.initial,
            language.dfa.accepting,
        )
        for language in languages
    ]
    return Language.of(starts, product(aligned, mode, max_states=max_states))
