"""Sets of characters, as the code points at which membership changes.

`bounds = (97, 123)` is a to z. A set of all letters has some 1,500 bounds where a table has a million entries, and sets
are compared and combined by their bounds alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ctrlg.vocabulary.characters import CHARACTERS

_ASSIGNED = 0x34000  # no letter, digit or space has a code point above


@dataclass(frozen=True)
class CharacterSet:
    """A set of code points. Combine with `|`, `&`, `-` and `~`.

    Args:
        bounds: ascending; code points from bounds[0] on are in the set, from bounds[1] on they are not, and so on.
    """

    bounds: tuple[int, ...] = ()

    @classmethod
    def of(cls, characters: Iterable[str]) -> CharacterSet:
        """The set of some characters."""
        return cls.of_ranges((ord(character), ord(character)) for character in characters)

    @classmethod
    def of_ranges(cls, ranges: Iterable[tuple[int, int]]) -> CharacterSet:
        """The code points in some ranges, each given by its first and its last."""
        merged: list[list[int]] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], last + 1)
            else:
                merged.append([first, last + 1])
        return cls(_within(bound for pair in merged for bound in pair))

    @classmethod
    def where(cls, table: NDArray[np.bool_]) -> CharacterSet:
        """The code points whose entry in a table of the first ones is true."""
        changes = np.diff(np.concatenate([[False], table, [False]]).astype(np.int8))
        return cls(_within(np.flatnonzero(changes).tolist()))

    def __contains__(self, character: str) -> bool:
        return bool(self.of_points(np.array([ord(character)]))[0])

    def of_points(self, points: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of some code points are in the set, bool [n]."""
        return np.searchsorted(np.array(self.bounds, dtype=np.int64), points, side="right") % 2 == 1

    def __or__(self, other: CharacterSet) -> CharacterSet:
        return _combined((self, other), np.logical_or)

    def __and__(self, other: CharacterSet) -> CharacterSet:
        return _combined((self, other), np.logical_and)

    def __sub__(self, other: CharacterSet) -> CharacterSet:
        return self & ~other

    def __invert__(self) -> CharacterSet:
        if self.bounds[:1] == (0,):
            return CharacterSet(self.bounds[1:])
        return CharacterSet((0, *self.bounds))


def partition(sets: Sequence[CharacterSet]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The intervals of code points in which all of some sets stay the same.

    Returns:
        The first code point of every interval, int64 [I], ascending from 0, and which sets hold it, bool [N, I].
    """
    starts = np.unique(np.array([0, *(bound for one in sets for bound in one.bounds)], dtype=np.int64))
    inside = np.zeros((len(sets), len(starts)), dtype=bool)
    for row, one in zip(inside, sets, strict=True):
        row[:] = one.of_points(starts)
    return starts, inside


def _combined(
    sets: Sequence[CharacterSet], combine: Callable[[NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.bool_]]
) -> CharacterSet:
    starts, inside = partition(sets)
    member = combine(inside[0], inside[1])
    return CharacterSet(tuple(starts[member != np.append(False, member[:-1])].tolist()))


def _within(bounds: Iterable[int]) -> tuple[int, ...]:
    """The bounds without the one behind the last code point, at which nothing changes any more."""
    return tuple(bound for bound in bounds if bound < CHARACTERS)


EVERY = CharacterSet((0,))


@lru_cache(maxsize=1)
def digits() -> CharacterSet:
    """What `\\d` matches in a text."""
    return _which(str.isdecimal)


@lru_cache(maxsize=1)
def spaces() -> CharacterSet:
    """What `\\s` matches in a text."""
    return _which(str.isspace)


@lru_cache(maxsize=1)
def word_characters() -> CharacterSet:
    """What `\\w` matches in a text."""
    return _which(str.isalnum) | CharacterSet.of("_")


@lru_cache(maxsize=1)
def upper_case() -> CharacterSet:
    """Letters in upper case."""
    return _which(str.isupper)


@lru_cache(maxsize=1)
def lower_case() -> CharacterSet:
    """Letters in lower case."""
    return _which(str.islower)


@lru_cache(maxsize=1)
def cased() -> CharacterSet:
    """Characters that have another case."""
    return upper_case() | lower_case() | _which(str.istitle)


ASCII = CharacterSet((0, 128))


def _which(test: Callable[[str], bool]) -> CharacterSet:
    return CharacterSet.where(np.fromiter(map(test, map(chr, range(_ASSIGNED))), bool, _ASSIGNED))
