"""Contents that are whole characters: an automaton over tokens that follows the bytes of UTF-8.

A byte-level token may begin or end inside a character. The automaton remembers how much of a character is missing, and
accepts only where nothing is.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.dfa import DFA
from ctrlg.vocabulary.token_bytes import Vocabulary

_CACHED_VOCABULARIES = 4
_WHOLE, _ONE, _TWO, _THREE, _AFTER_E0, _AFTER_ED, _AFTER_F0, _AFTER_F4, _BROKEN = range(9)  # states, by bytes missing


@lru_cache(maxsize=_CACHED_VOCABULARIES)
def whole_characters(vocabulary: Vocabulary) -> DFA:
    """Accepts the contents whose bytes are UTF-8, cut into tokens anywhere; tokens that are not content are dead.

    Args:
        vocabulary: the tokens and their bytes.
    """
    table = _byte_table()
    states = np.arange(len(table))
    between = np.where(states == _WHOLE, _WHOLE, _BROKEN)  # what whole characters do
    columns: dict[bytes, int] = {}
    rows: list[NDArray[np.int64]] = []
    class_of = np.zeros(vocabulary.vocab_size, dtype=np.int32)
    for token, data in enumerate(vocabulary.token_bytes):
        if data is None:
            row = np.full(len(table), _BROKEN)
        elif _is_text(data):
            row = between
        else:
            row = states
            for byte in data:
                row = table[row, byte]
        class_of[token] = columns.setdefault(row.tobytes(), len(rows))
        if class_of[token] == len(rows):
            rows.append(row)
    return DFA(class_of, np.column_stack(rows), _WHOLE, states == _WHOLE).minimize()


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _byte_table() -> NDArray[np.int64]:
    """The next state after every byte, [9, 256]: the well-formed sequences of the Unicode standard, table 3-7."""
    table = np.full((9, 256), _BROKEN)
    table[_WHOLE, :0x80] = _WHOLE
    table[_WHOLE, 0xC2:0xE0] = _ONE
    table[_WHOLE, 0xE0:0xF0] = _TWO
    table[_WHOLE, 0xF0:0xF4] = _THREE
    # the first bytes after which not every continuation byte is allowed
    table[_WHOLE, [0xE0, 0xED, 0xF0, 0xF4]] = [_AFTER_E0, _AFTER_ED, _AFTER_F0, _AFTER_F4]
    for state, first, last, following in (
        (_ONE, 0x80, 0xBF, _WHOLE),
        (_TWO, 0x80, 0xBF, _ONE),
        (_THREE, 0x80, 0xBF, _TWO),
        (_AFTER_E0, 0xA0, 0xBF, _ONE),
        (_AFTER_ED, 0x80, 0x9F, _ONE),
        (_AFTER_F0, 0x90, 0xBF, _TWO),
        (_AFTER_F4, 0x80, 0x8F, _TWO),
    ):
        table[state, first : last + 1] = following
    return table
