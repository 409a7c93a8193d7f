"""Tokens as strings of characters, for automata that read text.

An automaton over text is a `DFA` whose "tokens" are symbols: every Unicode character (symbol = code point), and, since
a token may begin or end in the middle of a character, its halves:

- a *continuation* byte (0x80 to 0xBF) that no lead byte in the same token belongs to: `CONTINUATION + byte - 0x80`;
- an *unfinished* character at the end of a token: all code points that could finish it form one aligned block of 64,
  4,096 or 262,144 code points, and the symbol stands for that block.

Bytes that can be in no text at all read as U+FFFD, as in Python's `errors="replace"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CHARACTERS = 0x110000  # number of code points
CONTINUATION = CHARACTERS  # first of 64 symbols
UNFINISHED = CONTINUATION + 64  # first of the symbols of blocks
_BLOCK_BITS = (6, 12, 18)  # code points left open by one, two, three missing bytes, in bits
_BLOCK_START = (
    UNFINISHED,
    UNFINISHED + (CHARACTERS >> 6),
    UNFINISHED + (CHARACTERS >> 6) + (CHARACTERS >> 12),
)
SYMBOLS = _BLOCK_START[2] + 5  # number of symbols
REPLACEMENT = 0xFFFD


class TokenSymbols(NamedTuple):
    """A vocabulary cut into characters, laid out so that all tokens advance together.

    tokens: int64 [N], ids of the content tokens, those with most symbols first.
    columns: tuple of int32 [n_j], n_j falling; columns[j][i] is symbol j of token tokens[i].
    unfinished: int32, the distinct unfinished-character symbols in use, ascending.
    """

    tokens: np.ndarray
    columns: tuple[np.ndarray, ...]
    unfinished: np.ndarray


def token_symbols(token_bytes: Sequence[bytes | None]) -> TokenSymbols:
    """Cuts every token that is content into symbols."""
    tokens: list[int] = []
    texts: list[str] = []
    broken: list[tuple[int, list[int]]] = []
    for token, data in enumerate(token_bytes):
        if data:
            try:
                texts.append(data.decode("utf-8"))
            except UnicodeDecodeError:
                broken.append((len(tokens), _broken_symbols(data)))
                texts.append("\0" * len(broken[-1][1]))
            tokens.append(token)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    starts = np.cumsum(lengths) - lengths
    flat = np.frombuffer("".join(texts).encode("utf-32-le"), dtype="<u4").astype(np.int32)
    for index, symbols in broken:
        flat[starts[index] : starts[index] + len(symbols)] = symbols
    order = np.argsort(-lengths, kind="stable")
    longer_than = np.cumsum(np.bincount(lengths)[::-1])[::-1][1:]  # tokens with more than 0, 1, ... symbols
    columns = tuple(flat[starts[order[:count]] + column] for column, count in enumerate(longer_than))
    return TokenSymbols(np.array(tokens, dtype=np.int64)[order], columns, np.unique(flat[flat >= UNFINISHED]))


def symbols_of(data: bytes) -> list[int]:
    """The symbols of a token's bytes."""
    try:
        return [ord(character) for character in data.decode("utf-8")]
    except UnicodeDecodeError:
        return _broken_symbols(data)


def unfinished_symbol(data: bytes) -> int:
    """The symbol of a character of which only the bytes `data` (1 to 3, no continuation first) were written."""
    length = _length(data[0])
    value = data[0] & (0x7F >> length)
    for byte in data[1:]:
        value = value << 6 | byte & 0x3F
    return _BLOCK_START[length - len(data) - 1] + value


def completions(symbol: int) -> range:
    """The code points that can finish an unfinished character, given as its symbol (>= UNFINISHED)."""
    level = sum(symbol >= start for start in _BLOCK_START) - 1
    first = symbol - _BLOCK_START[level] << _BLOCK_BITS[level]
    return range(first, min(first + (1 << _BLOCK_BITS[level]), CHARACTERS))


def _length(lead: int) -> int:
    """Bytes of the character that a byte leads; 0 for a byte that leads none."""
    if 0xC2 <= lead <= 0xDF:
        return 2
    if 0xE0 <= lead <= 0xEF:
        return 3
    return 4 if 0xF0 <= lead <= 0xF4 else 0


def _broken_symbols(data: bytes) -> list[int]:
    symbols: list[int] = []
    start = 0
    while start < len(data):
        end = start + 1
        if 0x80 <= data[start] <= 0xBF:
            symbols.append(CONTINUATION + data[start] - 0x80)
        else:
            length = _length(data[start])
            while end < len(data) and end - start < length and _continues(data[start : end + 1]):
                end += 1
            if data[start] < 0x80 or end - start == length:
                symbols.append(ord(data[start:end].decode("utf-8")))
            elif length and end == len(data):
                symbols.append(unfinished_symbol(data[start:end]))
            else:
                symbols.append(REPLACEMENT)
        start = end
    return symbols


_SECOND_BYTES = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}


def _continues(data: bytes) -> bool:
    """Whether the last byte can follow the ones before it in a character."""
    low, high = _SECOND_BYTES.get(data[0], (0x80, 0xBF)) if len(data) == 2 else (0x80, 0xBF)
    return low <= data[-1] <= high
