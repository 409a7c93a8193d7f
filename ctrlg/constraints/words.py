"""What a word is, for every constraint and for every check of one.

A *joining rule* gives each character a kind; two neighbours belong to one word where both have the same kind other than
0. Where opinions differ on what a whole word is, doubt goes against the language model:

- `STRICT` decides what *counts* as kept: letters, digits, underscores, combining marks and soft hyphens all join, so
  "dog" is not kept by "dogs", "dog2", "dog_" or "dog" with an accent on its g. (Enclosed, superscript and fraction
  characters of the symbol blocks do not join.)
- `LENIENT` decides what *violates* a ban: Latin letters join Latin letters, other letters other letters, digits digits,
  nothing else does, so "dog2" and "_dog_" contain "dog". In scripts written without spaces (Han, kana, Thai, ...)
  nothing joins.
- `ANYWHERE` joins nothing: parts of words count as well.

Apostrophes and hyphens never join: "dog's" and "hot-dog" contain "dog". Upper and lower case are alike, as under
`re.IGNORECASE`; a phrase of several words matches over any white space between them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ctrlg.errors import ConstraintError
from ctrlg.vocabulary.characters import SYMBOLS

T = TypeVar("T")
_ASSIGNED = 0x34000  # no letter, digit or space has a code point above
_SOFT_HYPHEN = 0xAD
_LATIN = ((0x0000, 0x024F), (0x1E00, 0x1EFF))  # first and last code point
_UNSPACED = (  # first and last code point of scripts that write no spaces between words
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0xA4CF),  # radicals, kana, Han, Yi
    (0xF900, 0xFAFF),  # Han, compatibility
    (0xFF66, 0xFF9F),  # kana, half width
    (0x1B000, 0x1B16F),  # kana, supplement
    (0x20000, 0x33FFF),  # Han, supplementary planes
)


_NO_LETTERS = (
    (0x2000, 0x2BFF),  # punctuation, superscripts, fractions, arrows, enclosed characters
    (0xFE00, 0xFE0F),  # variation selectors, which are marks
    (0x1F000, 0x1FFFF),  # emoji and other signs
)


@dataclass(frozen=True)
class JoiningRule:
    """Which characters belong together in a word.

    table: makes the kinds of the first code points; called once, when they are first needed.
    """

    name: str
    table: Callable[[], NDArray[np.uint8]]

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """The kind of every symbol, uint8 [SYMBOLS]; 0 for the symbols that are no characters."""
        return over_symbols(self.table())

    @cached_property
    def highest(self) -> int:
        """The highest kind there is."""
        return int(self.kinds.max())

    def kind_of(self, character: str) -> int:
        """The kind of one character."""
        return int(self.kinds[ord(character)])

    def joined(self, before: int, after: int) -> bool:
        """Whether characters of these kinds, side by side, belong to one word."""
        return before == after != 0


def over_symbols(table: NDArray) -> NDArray[np.uint8]:
    """A table of the first code points as one of all symbols, uint8 [SYMBOLS]; 0 elsewhere."""
    symbols = np.zeros(SYMBOLS, dtype=np.uint8)
    symbols[: len(table)] = table
    symbols.setflags(write=False)
    return symbols


def which(test: Callable[[str], bool]) -> NDArray[np.bool_]:
    """The code points, up to the last assigned letter, whose character passes a test."""
    return np.fromiter(map(test, map(chr, range(_ASSIGNED))), bool, _ASSIGNED)


def _strict() -> NDArray[np.uint8]:
    joins = which(str.isalnum) | _marks()
    joins[[ord("_"), _SOFT_HYPHEN]] = True
    for first, last in _NO_LETTERS:
        joins[first : last + 1] = False
    return joins.astype(np.uint8)


def _marks() -> NDArray[np.bool_]:
    categories = map(unicodedata.category, map(chr, range(_ASSIGNED)))
    return np.fromiter(map({"Mn", "Mc", "Me"}.__contains__, categories), bool, _ASSIGNED)


def _lenient() -> NDArray[np.uint8]:
    letters = which(str.isalpha)
    kinds = np.where(which(str.isdecimal), 1, np.where(letters, 2, 0)).astype(np.uint8)
    for first, last in _LATIN:
        kinds[first : last + 1][letters[first : last + 1]] = 3
    for first, last in _UNSPACED:
        kinds[first : last + 1][letters[first : last + 1]] = 0
    return kinds


def _nothing() -> NDArray[np.uint8]:
    return np.zeros(_ASSIGNED, dtype=np.uint8)


STRICT = JoiningRule("strict", _strict)
LENIENT = JoiningRule("lenient", _lenient)
ANYWHERE = JoiningRule("anywhere", _nothing)


def count_words(text: str) -> int:
    """Words of a text: runs without white space (`str.split`) that hold a letter, a digit or an underscore (STRICT).

    "3.5", "U.S.", "1,000,000", "don't" and "well-known" are one word each; "-" and "..." are none.
    """
    return sum(any(map(STRICT.kind_of, run)) for run in text.split())


def words_of(phrase: str) -> tuple[str, ...]:
    """The words of a phrase as the user wrote it. ConstraintError where there is none."""
    if not isinstance(phrase, str) or not phrase.strip():
        raise ConstraintError(f"{phrase!r} is no phrase", hint="give words, such as 'hot dog'")
    return tuple(phrase.split())


def as_phrases(phrases: Iterable[str] | str) -> tuple[str, ...]:
    """One phrase or several as a tuple, checked by `words_of`."""
    several = (phrases,) if isinstance(phrases, str) else tuple(phrases)
    for phrase in several:
        words_of(phrase)
    return several


def distinct(phrases: Iterable[str]) -> tuple[str, ...]:
    """The phrases, the first of those that mean the same."""
    return first_of_each(phrases, meaning)


def first_of_each(items: Iterable[T], meaning: Callable[[T], Hashable]) -> tuple[T, ...]:
    """The items, in order, without those that mean what an earlier one does."""
    first: dict[Hashable, T] = {}
    for item in items:
        first.setdefault(meaning(item), item)
    return tuple(first.values())


@lru_cache(maxsize=4096)
def meaning(phrase: str) -> Hashable:
    """What two phrases have in common where every text has the same places of both, and they the same inflections."""
    alike = frozenset(tuple(map(variants, spelling)) for spelling in spellings([phrase]))
    return alike, " ".join(words_of(phrase)).lower()


def spellings(phrases: Iterable[str]) -> tuple[str, ...]:
    """The phrases with single spaces, accents both composed and decomposed, without repetitions."""
    normal = (" ".join(words_of(phrase)) for phrase in phrases)
    return tuple(
        dict.fromkeys(
            form for phrase in normal for form in (phrase, *(unicodedata.normalize(n, phrase) for n in _FORMS))
        )
    )


_FORMS = ("NFC", "NFD")


def occurrences(text: str, phrases: Sequence[str], rule: JoiningRule) -> Iterator[tuple[int, int]]:
    """Start and end of every place where a phrase stands whole, by regular expressions; may overlap."""
    for phrase in spellings(phrases):
        pattern = r"\s+".join(re.escape(word) for word in words_of(phrase))
        for match in re.finditer(f"(?=({pattern}))", text, re.IGNORECASE):
            start, end = match.span(1)
            if _apart(text, start, rule) and _apart(text, end, rule):
                yield start, end


def _apart(text: str, position: int, rule: JoiningRule) -> bool:
    """Whether a word may begin or end between text[position - 1] and text[position]."""
    if not 0 < position < len(text):
        return True
    return not rule.joined(rule.kind_of(text[position - 1]), rule.kind_of(text[position]))


@lru_cache(maxsize=4096)
def variants(character: str) -> frozenset[str]:
    """The characters that `re.IGNORECASE` holds equal to one, itself included."""
    return frozenset(re.findall(re.escape(character), _cased(), re.IGNORECASE)) | {character}


@lru_cache(maxsize=1)
def _cased() -> str:
    """All characters that have another case."""
    cased = which(str.islower) | which(str.isupper) | which(str.istitle)
    return "".join(map(chr, np.flatnonzero(cased).tolist()))
