"""From a language to the automaton over symbols that `lift` reads, also where a token cuts a character in two.

Behind the first half of a character, a state is what each of the 64 continuation bytes leads to: a state of the
language where the character is complete, otherwise again such a state. States that do the same are one, so that they
are few however many characters begin with the same bytes. Bytes that are not UTF-8 lead to a state that accepts
nothing, neither the language nor its complement.

That is exact, and takes hundreds of states where a language tells letters of all scripts apart. Without `exact`, the
first half of a character leads on only where it does not matter how the character ends: a few states more than whole
characters need, which accept nothing that they should not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.lifting import TextDFA
from ctrlg.regular.language import Language
from ctrlg.vocabulary.characters import CHARACTERS, CONTINUATION, SYMBOLS, completions
from ctrlg.vocabulary.token_bytes import Vocabulary

_BYTES = 64  # continuation bytes
_SURROGATES = slice(0xD800 // _BYTES, 0xE000 // _BYTES)  # blocks of code points that UTF-8 has no bytes for
_SHORTEST = {2: 0x800, 3: 0x10000}  # by number of bytes missing: smaller code points have a shorter form


def over_symbols(language: Language, vocabulary: Vocabulary, *, exact: bool = True) -> TextDFA:
    """The automaton of a language for the symbols of a vocabulary; see `ctrlg.vocabulary.characters`.

    Args:
        language: over whole characters.
        vocabulary: its unfinished characters are followed; all others lead to nothing.
        exact: whether halves are followed where it matters how the character ends.
    """
    dfa = language.dfa
    lengths = np.diff(np.append(language.starts, CHARACTERS))
    of_point = np.repeat(dfa.class_of, lengths)
    # What can never be accepted again is broken, so that it does not matter which bytes complete a character.
    live = dfa.distances() < dfa.UNREACHABLE
    halves = _Halves(np.where(live[dfa.delta], dfa.delta, dfa.num_states).astype(np.int32), of_point, exact)
    columns = {symbol: halves.column(symbol) for symbol in vocabulary.symbols.unfinished.tolist()}
    # Symbol classes: those of characters, the continuation bytes, the unfinished characters, and what leads nowhere.
    nowhere = dfa.num_classes + _BYTES + len(columns)
    class_of = np.full(SYMBOLS, nowhere, dtype=np.min_scalar_type(nowhere))
    class_of[:CHARACTERS] = of_point
    class_of[CONTINUATION : CONTINUATION + _BYTES] = dfa.num_classes + np.arange(_BYTES)
    for place, symbol in enumerate(columns):
        class_of[symbol] = dfa.num_classes + _BYTES + place
    states = dfa.num_states
    delta = np.full((states + len(halves.rows), nowhere + 1), halves.broken, dtype=np.int32)
    delta[:states, : dfa.num_classes] = dfa.delta
    for place, column in enumerate(columns.values()):
        delta[:states, dfa.num_classes + _BYTES + place] = column
    delta[states:, dfa.num_classes : dfa.num_classes + _BYTES] = np.array(halves.rows)
    accepting = np.append(dfa.accepting, np.zeros(len(halves.rows), dtype=bool))
    return TextDFA(class_of, delta, dfa.initial, accepting)


class _Halves:
    """States behind the first half of a character, numbered from S, the number of states of the language."""

    def __init__(self, delta: NDArray[np.int32], of_point: NDArray[np.int32], exact: bool) -> None:
        self._delta, self._exact = delta, exact
        self.broken = len(delta)  # the first of the states, where all bytes lead back to it
        self.rows: list[NDArray[np.int32]] = [np.full(_BYTES, self.broken, dtype=np.int32)]
        self._number: dict[bytes, int] = {self.rows[0].tobytes(): self.broken}
        # Blocks of 64 code points with the same classes are one kind of block; surrogates are of kind -1.
        blocks = np.ascontiguousarray(of_point.reshape(-1, _BYTES))
        _, first, kinds = np.unique(
            blocks.view(np.dtype((np.void, blocks.itemsize * _BYTES))), return_index=True, return_inverse=True
        )
        self._blocks = blocks[first]
        self._kinds = kinds.reshape(-1).copy()
        self._kinds[_SURROGATES] = -1
        # Two states that do the same with all classes of a kind of block lead to the same states behind it.
        self._of_kind: dict[int, NDArray[np.int32]] = {-1: np.full(len(delta), self.broken, dtype=np.int32)}
        self._of_blocks: dict[tuple[bytes, int], NDArray[np.int32]] = {}

    def column(self, symbol: int) -> NDArray[np.int32]:
        """Where an unfinished character leads from every state of the language, int32 [S]."""
        points = completions(symbol)
        size = {_BYTES: 1, _BYTES**2: 2}.get(len(points), 3)
        return self._behind(points.start, size)

    def _behind(self, first: int, missing: int) -> NDArray[np.int32]:
        """The column of the block that begins at a code point, of which so many bytes are missing."""
        if missing == 1:
            return self._behind_kind(int(self._kinds[first // _BYTES]))
        size = _BYTES ** (missing - 1)
        kinds = self._kinds[first // _BYTES : (first + size * _BYTES) // _BYTES].tobytes()
        shortest = _SHORTEST[missing] if first == 0 else 0
        key = kinds, shortest
        if key not in self._of_blocks:
            nothing = self._of_kind[-1]
            starts = range(first, first + size * _BYTES, size)
            possible = np.array([self._has_characters(start, shortest) for start in starts])
            parts = [
                self._behind(start, missing - 1) if there_are else nothing
                for start, there_are in zip(starts, possible, strict=True)
            ]
            self._of_blocks[key] = self._numbered(np.column_stack(parts), possible)
        return self._of_blocks[key]

    def _has_characters(self, start: int, shortest: int) -> bool:
        """Whether characters begin with the bytes of the block that begins at a code point."""
        return shortest <= start < CHARACTERS and self._kinds[start // _BYTES] != -1

    def _behind_kind(self, kind: int) -> NDArray[np.int32]:
        if kind not in self._of_kind:
            self._of_kind[kind] = self._numbered(self._delta[:, self._blocks[kind]])
        return self._of_kind[kind]

    def _numbered(self, rows: NDArray[np.int32], possible: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
        """The states of some rows, int32 [n, 64]; new ones where they were not met before.

        possible: the bytes with which there are characters, bool [64]; None for all.
        """
        if not self._exact:
            some = rows if possible is None else rows[:, possible]
            differ = (some != some[:, :1]).any(axis=1)
            rows = np.where(differ[:, None], self.broken, rows)
        numbers = np.empty(len(rows), dtype=np.int32)
        for place, row in enumerate(np.ascontiguousarray(rows)):
            numbers[place] = self._number.setdefault(row.tobytes(), self.broken + len(self.rows))
            if numbers[place] == self.broken + len(self.rows):
                self.rows.append(row)
        return numbers
