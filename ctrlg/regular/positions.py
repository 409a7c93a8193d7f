"""From an expression to the automaton of its texts: positions, and sets of them (Glushkov 1961, Rabin and Scott 1959).

Every place of an expression that reads a character is a *position*. After some text, the state is the set of positions
that may have read its last character; what can follow is the union of what can follow each. Sets are whole numbers, one
bit for each position, so that a step is one `&` for each class of characters.

Anchors look at the characters on both sides. So what follows a position depends on the kind of the character it has
read and on the kind of the next one, and a set is followed for every kind of next character. `$` matches before a
line break that ends the text, too: there, what follows a line break is asked for once more, as if it were the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.algebra import MAX_STATES
from ctrlg.automata.dfa import DFA
from ctrlg.automata.exploration import require_states
from ctrlg.errors import BudgetError, ConstraintError
from ctrlg.regular.character_sets import ASCII, CharacterSet, partition, word_characters
from ctrlg.regular.expressions import At, Characters, Expression, Graph, OneOf, Place, Repeat, Sequence
from ctrlg.regular.language import Language

MAX_POSITIONS = 2**14
"""Most positions of an expression: sets of them are numbers of as many bits, and there is one for each position."""

_EDGE, _NEWLINE, _ASCII_WORD, _WORD, _OTHER, _LAST_NEWLINE = range(6)  # kinds of neighbors; the edge is no character
_NEWLINES = (_NEWLINE, _LAST_NEWLINE)
_WORDS = (_ASCII_WORD, _WORD)
_NEWLINE_SET = CharacterSet.of("\n")


def language_of(expression: Expression, max_states: int = MAX_STATES, what: str = "the expression") -> Language:
    """The texts that an expression matches from their beginning to their end.

    Args:
        expression: the expression.
        max_states: most states on the way.
        what: is built, for errors.

    Raises:
        BudgetError: more states are needed, or more than MAX_POSITIONS places that read a character.
        ConstraintError: parts in parts, deeper than Python's stack.
    """
    positions = _Positions(what)
    start = positions.new_state()
    try:
        end = positions.add(expression, start)
    except RecursionError:
        raise ConstraintError(f"{what}: too many groups in groups", hint="write it with fewer brackets") from None
    return _Subsets(positions, start, end).language(max_states, what)


class _Positions:
    """Positions between the states of an automaton with empty moves (Thompson 1968)."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._number: dict[CharacterSet, int] = {}
        self.moves: list[list[tuple[Place | None, int]]] = []  # of every state; empty, some only at a place
        self.leaving: list[list[int]] = []  # of every state, the positions that begin there
        self.set_of: list[int] = []  # of every position
        self.target: list[int] = []  # of every position, the state behind it
        self.anchored = False

    @property
    def sets(self) -> list[CharacterSet]:
        return list(self._number)

    def new_state(self) -> int:
        self.moves.append([])
        self.leaving.append([])
        # Repetitions of what reads nothing add states, but no positions.
        self._require_room(len(self.moves) // 16)
        return len(self.moves) - 1

    def add(self, expression: Expression, state: int) -> int:
        """Adds what leads from a state through an expression; the state behind it. Nothing leads back into `state`."""
        if isinstance(expression, Characters):
            return self._read(state, expression.members, self.new_state())
        if isinstance(expression, Sequence):
            for part in expression.parts:
                state = self.add(part, state)
            return state
        if isinstance(expression, OneOf):
            end = self.new_state()
            for part in expression.parts:
                self._move(self.add(part, self._move(state, self.new_state())), end)
            return end
        if isinstance(expression, Repeat):
            return self._repeat(expression, state)
        if isinstance(expression, At):
            self.anchored = True
            return self._move(state, self.new_state(), expression.place)
        if isinstance(expression, Graph):
            return self._graph(expression, state)
        return self._within(expression.language, state)

    def _repeat(self, expression: Repeat, state: int) -> int:
        part, least, most = expression.part, expression.least, expression.most
        for _ in range(least):
            before, state = state, self.add(part, state)
            if state == before:  # the empty text alone, so that one time is as good as many
                return state
        if most is None:
            loop = self._move(state, self.new_state())
            self._move(self.add(part, loop), loop)
            return self._move(loop, self.new_state())
        end = self.new_state()
        for _ in range(most - least):
            self._move(state, end)
            before, state = state, self.add(part, state)
            if state == before:
                break
        return self._move(state, end)

    def _graph(self, graph: Graph, state: int) -> int:
        nodes: dict[int, int] = {}
        for node in (
            graph.first,
            *graph.last,
            *(node for source, _, target in graph.edges for node in (source, target)),
        ):
            if node not in nodes:
                nodes[node] = self.new_state()
        self._move(state, nodes[graph.first])
        for source, expression, target in graph.edges:
            # A state of its own for every edge, into which nothing leads back.
            begin = self._move(nodes[source], self.new_state())
            self._move(self.add(expression, begin), nodes[target])
        end = self.new_state()
        for node in graph.last:
            self._move(nodes[node], end)
        return end

    def _within(self, language: Language, state: int) -> int:
        inner = {number: self.new_state() for number in range(language.dfa.num_states)}
        end = self.new_state()
        self._move(state, inner[language.dfa.initial])
        for source, members, target in language.edges():
            self._read(inner[source], members, inner[target])
        for number in np.flatnonzero(language.dfa.accepting).tolist():
            self._move(inner[number], end)
        return end

    def _read(self, source: int, members: CharacterSet, target: int) -> int:
        self._require_room(len(self.target) + 1)
        self.leaving[source].append(len(self.target))
        self.set_of.append(self._number.setdefault(members, len(self._number)))
        self.target.append(target)
        return target

    def _move(self, source: int, target: int, place: Place | None = None) -> int:
        self.moves[source].append((place, target))
        return target

    def _require_room(self, positions: int) -> None:
        if positions > MAX_POSITIONS:
            raise BudgetError(
                f"{self._what}: more than {MAX_POSITIONS:,} places that read a character, repetitions counted",
                hint="repeat fewer times, or leave out a part",
            )


class _State(NamedTuple):
    """A state of the automaton: what can follow, by kind of the next character, and whether the text may end.

    following: positions, as bits; one number for each kind, and one for a line break that ends the text.
    """

    following: tuple[int, ...]
    accepting: bool


class _Subsets:
    """The subset construction."""

    def __init__(self, positions: _Positions, start: int, end: int) -> None:
        self._positions, self._start, self._end = positions, start, end
        self._anchored = positions.anchored
        self._closures: dict[tuple[int, int, int], tuple[int, bool]] = {}
        self._met: dict[tuple[int, int, int], _State] = {}
        # Anchors ask for line breaks and words, so intervals are split there as well.
        extra = [_NEWLINE_SET, word_characters(), ASCII] if self._anchored else []
        self._starts, inside = partition([*positions.sets, *extra])
        # Intervals with equal columns are one class, whose column is `member` [N, K].
        member, class_of = np.unique(inside, axis=1, return_inverse=True)
        self._class_of = class_of.reshape(-1)
        self._readers = _readers(member[: len(positions.sets)], positions.set_of)
        self._kinds = _kinds(member[len(positions.sets) :]) if self._anchored else [_OTHER] * member.shape[1]

    def language(self, max_states: int, what: str) -> Language:
        """The automaton, minimized. BudgetError as soon as more than max_states states are met."""
        first = self._state([self._start], _EDGE, [])
        number = {first: 0}
        states = [first]
        rows: list[list[int]] = []
        for state in states:  # grows while it is read
            row = []
            for readers, kind in zip(self._readers, self._kinds, strict=True):
                following = self._after(state, readers, kind)
                place = number.setdefault(following, len(states))
                if place == len(states):
                    states.append(following)
                row.append(place)
            require_states(len(states), max_states, what)
            rows.append(row)
        accepting = np.array([state.accepting for state in states])
        return Language.of(self._starts, DFA(self._class_of, np.array(rows, dtype=np.int32), 0, accepting))

    def _after(self, state: _State, readers: int, kind: int) -> _State:
        """The state after one character, given by the positions that can read it and its kind."""
        read = state.following[kind if self._anchored else 0] & readers
        last = state.following[_LAST_NEWLINE] & readers if kind == _NEWLINE else 0
        key = (read, last, kind)
        if key not in self._met:
            targets = [self._positions.target[position] for position in _bits(read)]
            at_the_end = [self._positions.target[position] for position in _bits(last)]
            self._met[key] = self._state(targets, kind, at_the_end)
        return self._met[key]

    def _state(self, states: list[int], before: int, at_the_end: list[int]) -> _State:
        """The state behind a character of a kind. at_the_end: states that hold only if the text ends here."""
        accepting = any(self._closure(state, before, _EDGE)[1] for state in (*states, *at_the_end))
        following = [0] * (6 if self._anchored else 1)
        for after in range(1, 6) if self._anchored else (0,):
            for state in states:
                following[after] |= self._closure(state, before, after)[0]
        return _State(tuple(following), accepting)

    def _closure(self, state: int, before: int, after: int) -> tuple[int, bool]:
        """Positions that begin behind empty moves, as bits, and whether the end is among the states on the way."""
        key = (state, before, after) if self._anchored else (state, 0, 0)
        if key not in self._closures:
            seen, waiting = {state}, [state]
            positions = 0
            while waiting:
                here = waiting.pop()
                for position in self._positions.leaving[here]:
                    positions |= 1 << position
                for place, target in self._positions.moves[here]:
                    if target not in seen and (place is None or _matches(place, before, after)):
                        seen.add(target)
                        waiting.append(target)
            self._closures[key] = positions, self._end in seen
        return self._closures[key]


def _matches(place: Place, before: int, after: int) -> bool:
    """Whether an anchor matches between two neighbors."""
    if place is Place.START:
        return before == _EDGE
    if place is Place.LINE_START:
        return before in (_EDGE, *_NEWLINES)
    if place is Place.END:
        return after == _EDGE
    if place is Place.LAST_LINE_END:
        return after in (_EDGE, _LAST_NEWLINE)
    if place is Place.LINE_END:
        return after in (_EDGE, *_NEWLINES)
    words = _WORDS if place in (Place.BOUNDARY, Place.NO_BOUNDARY) else (_ASCII_WORD,)
    differ = (before in words) != (after in words)
    if place in (Place.BOUNDARY, Place.ASCII_BOUNDARY):
        return differ
    # Before Python 3.14, \B does not match the empty text.
    return not differ and (before, after) != (_EDGE, _EDGE)


def _kinds(member: NDArray[np.bool_]) -> list[int]:
    """The kind of every class, from its membership in line breaks, word characters and ASCII [3, K]."""
    newline, word, within_ascii = member
    kinds = np.where(newline, _NEWLINE, np.where(word, np.where(within_ascii, _ASCII_WORD, _WORD), _OTHER))
    return kinds.tolist()


def _readers(member: NDArray[np.bool_], set_of: list[int]) -> list[int]:
    """For every class the positions that can read it, as bits."""
    packed = np.packbits(member[set_of].T, axis=1, bitorder="little")  # [K, P / 8]
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def _bits(number: int) -> Iterator[int]:
    """The places of the bits of a number."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
