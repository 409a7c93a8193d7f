"""The ten families of NFA-LM (arXiv 2609.40185, section on scaling) over CommonGen's concepts, by seed.

Each is about k2 tracked words and, some of them, a number k1. An instance has at most 50 states as an automaton over
words that may be nondeterministic; `states` says how many a family takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ctrlg.constraints import After, AnyOf, Apart, At, Before, Constraint, Count, CountParity, Keywords
from ctrlg.evaluation.concept_sets import ConceptSet

SEPARATOR = "and"
MOST_STATES = 50
MOST_WORDS = 20  # k2
MOST_NUMBER = 10  # k1


class Family(NamedTuple):
    """constraint: of words and k1. numbered: whether k1 matters. states: of an automaton over words, from k2 and k1."""

    constraint: Callable[[Sequence[str], int], Constraint]
    numbered: bool
    states: Callable[[int, int], int]


def _some(of_word: Callable[[str], Constraint], words: Sequence[str]) -> Constraint:
    return AnyOf(tuple(map(of_word, words)))


def _before(word: str) -> Constraint:
    return Before(SEPARATOR, Keywords([word]))


def _after(word: str) -> Constraint:
    return After(SEPARATOR, Keywords([word]))


def _left(word: str) -> Constraint:
    return _before(word) & ~_after(word)


def _right(word: str) -> Constraint:
    return _after(word) & ~_before(word)


FAMILIES: Mapping[str, Family] = {
    "k1-th word from the end": Family(lambda words, k1: At(-k1, words), True, lambda k2, k1: k1 + 1),
    "again k1 words later": Family(lambda words, k1: Apart(words, k1), True, lambda k2, k1: k1 * k2 + 2),
    "k1 times or more": Family(
        lambda words, k1: _some(lambda word: Count([word], k1), words), True, lambda k2, k1: k2 * (k1 + 1)
    ),
    "exactly once": Family(
        lambda words, k1: _some(lambda word: Count([word], 1, 1), words), False, lambda k2, k1: 2 * k2
    ),
    "left only": Family(lambda words, k1: _some(_left, words), False, lambda k2, k1: 3 * k2),
    "right only": Family(lambda words, k1: _some(_right, words), False, lambda k2, k1: 3 * k2),
    "on one side": Family(
        lambda words, k1: _some(lambda word: _left(word) | _right(word), words), False, lambda k2, k1: 5 * k2
    ),
    "on both sides": Family(
        lambda words, k1: _some(lambda word: _before(word) & _after(word), words), False, lambda k2, k1: 3 * k2
    ),
    "even, not never": Family(
        lambda words, k1: _some(lambda word: CountParity([word]) & Keywords([word]), words),
        False,
        lambda k2, k1: 3 * k2,
    ),
    "odd": Family(
        lambda words, k1: _some(lambda word: CountParity([word], even=False), words), False, lambda k2, k1: 2 * k2
    ),
}


class Instance(NamedTuple):
    """words: tracked, k2 of them. k1: 0 where the family has none."""

    family: str
    words: tuple[str, ...]
    k1: int

    @property
    def constraint(self) -> Constraint:
        return FAMILIES[self.family].constraint(self.words, self.k1)


def instance_of(family: str, number: int, sets: Sequence[ConceptSet], seed: int) -> Instance:
    """The number-th instance of a family: k1 from 1 to 10, k2 from 1 to 20, the words of concept sets put together."""
    about = FAMILIES[family]
    random = np.random.default_rng([seed, list(FAMILIES).index(family), number])
    while True:
        k1 = int(random.integers(1, MOST_NUMBER + 1)) if about.numbered else 0
        k2 = int(random.integers(1, MOST_WORDS + 1))
        if about.states(k2, k1) <= MOST_STATES:
            return Instance(family, merged(sets, k2, random), k1)


def merged(sets: Sequence[ConceptSet], count: int, random: np.random.Generator) -> tuple[str, ...]:
    """So many different concepts of sets in random order, those of one set together."""
    words: dict[str, None] = {}
    for place in random.permutation(len(sets)).tolist():
        words |= dict.fromkeys(word for word in sets[place].concepts if word.isalpha() and word != SEPARATOR)
        if len(words) >= count:
            break
    return tuple(words)[:count]
