"""From an automaton over text to an automaton over tokens.

A `TextDFA` reads characters. `lift` runs the characters of every token through it, from every state a token can begin
in, all tokens at once; tokens that lead to the same states from everywhere are one class. However a text is cut into
tokens, the token automaton therefore says what the text automaton says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata import paths
from ctrlg.automata.dfa import DFA
from ctrlg.automata.exploration import require_room
from ctrlg.automata.token_strings import TokenStrings
from ctrlg.errors import ConstraintError
from ctrlg.vocabulary.characters import SYMBOLS
from ctrlg.vocabulary.token_bytes import Vocabulary

_ENTRIES_AT_ONCE = 2**21  # ends of strings computed together, 8 MB


@dataclass(frozen=True, eq=False)
class TextDFA:
    """An automaton over the symbols of `ctrlg.vocabulary.characters`.

    Args:
        class_of: integers [SYMBOLS], the class of every symbol, in [0, K).
        delta: int32 [S, K], the next state.
        initial: the start state.
        accepting: bool [S].
        settle: int [S], the state to continue in where a token ends, None for the same state. It keeps the lifted
            automaton small by forgetting what may be forgotten, and must be chosen such that forgetting never accepts
            more.

    Raises:
        ConstraintError: arrays of other shapes, or classes that delta does not have.
    """

    class_of: NDArray[np.integer]
    delta: NDArray[np.int32]
    initial: int
    accepting: NDArray[np.bool_]
    settle: NDArray[np.integer] | None = None

    def __post_init__(self) -> None:
        states, classes = self.delta.shape
        if self.class_of.shape != (SYMBOLS,) or self.class_of.max() >= classes:
            raise ConstraintError(
                f"class_of has shape {list(self.class_of.shape)} and classes up to {self.class_of.max()}",
                hint=f"give one of {classes} classes to each of {SYMBOLS} symbols",
            )
        if self.accepting.shape != (states,) or (self.settle is not None and self.settle.shape != (states,)):
            raise ConstraintError(f"accepting or settle do not fit {states} states", hint="give one entry a state")

    def run(self, symbols: Iterable[int], state: int | None = None) -> int:
        """The state after some symbols.

        Args:
            symbols: in [0, SYMBOLS).
            state: where to begin; the start state where None.
        """
        here = self.initial if state is None else state
        for symbol in symbols:
            here = int(self.delta[here, self.class_of[symbol]])
        return here


def lift(
    text: TextDFA, vocabulary: Vocabulary, *, prefix: str = "", suffix: str = "", name: str = "automaton over tokens"
) -> DFA:
    """The automaton over contents (token strings) for which prefix + content + suffix is accepted by `text`.

    Tokens that are not content lead to a dead state. The result is not minimized.

    Args:
        text: the automaton over characters.
        vocabulary: the tokens and their bytes.
        prefix: text before the content.
        suffix: text after the content.
        name: what an error calls the automaton.

    Raises:
        BudgetError: its table would be too large.
    """
    # A text begins with the prefix; a token begins in a state that is settled, or in the start state.
    start = text.run(map(ord, prefix))
    settle = np.arange(len(text.delta)) if text.settle is None else text.settle
    settle = settle.astype(np.int32)
    # Settling counts as one more symbol, so that what is reached through it is reached.
    reached = paths.reachable(np.column_stack([text.delta, settle]), start)
    states = np.union1d(settle[reached], [start]).astype(np.int32)
    tokens, columns, _ = vocabulary.symbols
    strings = TokenStrings.of(columns, text.class_of, text.delta.shape[1])
    # First the classes: strings that lead to the same ends from all states. Ends are int32 [at_once, D], never [S, D]:
    # a block of states splits the classes further and is forgotten.
    class_of_string = np.zeros(strings.count, dtype=np.int64)
    at_once = max(1, _ENTRIES_AT_ONCE // max(1, strings.count))
    reader = _Reader(strings, text.delta)
    for first in range(0, len(states), at_once):
        ends = reader.read(states[first : first + at_once])
        if text.settle is not None:
            ends = settle[ends]
        class_of_string = _refine(class_of_string, ends)
    representative = np.unique(class_of_string, return_index=True)[1]
    # argsort twice is the rank: classes are numbered by their first string.
    class_of_string = np.argsort(np.argsort(representative))[class_of_string]
    distinct = strings.only(np.sort(representative))
    dead, dead_class = len(states), len(representative)
    require_room(dead + 1, dead_class + 1, name)
    # Then the table, of one string for each class only, read once more. `states` is sorted, so searchsorted gives a
    # state's number.
    delta = np.full((dead + 1, dead_class + 1), dead, dtype=np.int32)
    for first in range(0, len(states), at_once):
        ends = distinct.read(text.delta, states[first : first + at_once])
        delta[first : first + len(ends), :dead_class] = np.searchsorted(states, settle[ends])
    # Special tokens are no content: their class leads to the dead state.
    class_of = np.full(vocabulary.vocab_size, dead_class, dtype=np.int32)
    class_of[tokens] = class_of_string[strings.of_token]
    after = states
    for character in suffix:  # from all states at once: a suffix may be long
        after = text.delta[after, text.class_of[ord(character)]]
    accepting = np.append(text.accepting[after], False)
    return DFA(class_of, delta, int(np.searchsorted(states, start)), accepting)


class _Reader:
    """Reads strings from many states, but not those that go nowhere from all of them.

    Behind the first half of a character only the tokens that begin with its second half lead anywhere. Where there are
    many such states, nearly all of the strings need not be read.
    """

    def __init__(self, strings: TokenStrings, delta: NDArray[np.int32]) -> None:
        self._strings, self._delta = strings, delta
        self._beginnings = strings.beginnings()
        self._first_classes = np.unique(self._beginnings)
        sinks = np.flatnonzero((delta == np.arange(len(delta))[:, None]).all(axis=1))
        self._sinks: list[int] = sinks.tolist()
        self._some: dict[bytes, tuple[NDArray[np.int64], TokenStrings]] = {}

    def read(self, states: NDArray[np.int32]) -> NDArray[np.int32]:
        """Where every string leads from each of `states`, int32 [states, D]."""
        following = self._delta[np.ix_(states, self._first_classes)]
        for sink in self._sinks:
            live = (following != sink).any(axis=0)
            if 2 * live.sum() < len(live):
                strings, tree = self._beginning_with(live)
                ends = np.full((len(states), self._strings.count), sink, dtype=np.int32)
                ends[:, strings] = tree.read(self._delta, states)
                return ends
        return self._strings.read(self._delta, states)

    def _beginning_with(self, live: NDArray[np.bool_]) -> tuple[NDArray[np.int64], TokenStrings]:
        """The strings that begin with some of the first classes, and their tree."""
        key = live.tobytes()
        if key not in self._some:
            strings = np.flatnonzero(np.isin(self._beginnings, self._first_classes[live]))
            self._some[key] = strings, self._strings.only(strings)
        return self._some[key]


def _refine(classes: NDArray[np.int64], rows: NDArray[np.integer]) -> NDArray[np.int64]:
    """Splits classes of strings until strings of one class have equal columns in `rows` [n, D]; exact.

    Columns are compared by random sums modulo 2^64, then in full; a collision costs another sample.
    """
    seed = 0
    while True:
        weights = np.random.default_rng(seed).integers(1, 2**63, size=len(rows) + 1, dtype=np.uint64)
        # The class so far is one more number of the column, so that classes are only ever split.
        sums = classes.astype(np.uint64) * weights[-1]
        for row, weight in zip(rows, weights[:-1], strict=True):
            sums += row.astype(np.uint64) * weight
        _, first, refined = np.unique(sums, return_index=True, return_inverse=True)
        of_class = first[refined]
        if (classes == classes[of_class]).all() and all((row == row[of_class]).all() for row in rows):
            return refined
        seed += 1
