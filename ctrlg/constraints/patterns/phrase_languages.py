"""Texts in which phrases occur, as regular languages: exactly what `ctrlg.constraints.words.occurrences` finds.

Whether a phrase stands whole depends on the characters on both sides of it, so its ways to be written are told apart by
the kinds of their first and last characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from ctrlg.constraints.words import JoiningRule, spellings, variants, words_of
from ctrlg.regular import ANYTHING, NOTHING, Characters, CharacterSet, Expression, OneOf, Repeat
from ctrlg.regular import Sequence as InTurn
from ctrlg.regular.character_sets import spaces
from ctrlg.vocabulary.characters import CHARACTERS

Places = Mapping[tuple[int, int], Expression]
"""Ways to write some phrases, by the kinds of the first and of the last character."""


def in_order(stages: Sequence[Sequence[str]], rule: JoiningRule) -> Expression:
    """Texts in which a phrase of the first stage occurs, behind it one of the second, and so on.

    Args:
        stages: phrases of each stage, one of which is enough.
        rule: where words end.
    """
    places = [_places(phrases, rule) for phrases in stages]

    def behind(stage: int, last: int) -> Expression:
        if stage == len(places):
            return OneOf((NOTHING, InTurn((_apart_from(last, rule), ANYTHING))))
        return OneOf(
            tuple(
                InTurn((_between(last, first, rule), phrase, behind(stage + 1, end)))
                for (first, end), phrase in places[stage].items()
            )
        )

    if not places:
        return ANYTHING
    return OneOf(
        tuple(InTurn((_before(first, rule), phrase, behind(1, last))) for (first, last), phrase in places[0].items())
    )


def at_the_end(phrases: Sequence[str], rule: JoiningRule) -> Expression:
    """Texts that end with one of some phrases; behind a word character, non-word characters may follow."""
    signs = Repeat(Characters(_of_kind(rule, 0)))
    return OneOf(
        tuple(
            InTurn((_before(first, rule), phrase, signs if last else NOTHING))
            for (first, last), phrase in _places(phrases, rule).items()
        )
    )


def _places(phrases: Sequence[str], rule: JoiningRule) -> Places:
    found: dict[tuple[int, int], list[Expression]] = {}
    for phrase in spellings(phrases):
        characters: list[Expression] = []
        for word in words_of(phrase):
            characters += [Repeat(Characters(spaces()), 1)] if characters else []
            characters += [Characters(CharacterSet.of(variants(character))) for character in word]
        for first in variants(phrase[0]):
            for last in variants(phrase[-1]):
                if len(phrase) > 1 or first == last:
                    ends = [Characters(CharacterSet.of(end)) for end in (first, last)]
                    middle = characters[1:-1]
                    written = InTurn((ends[0], *middle, ends[1]) if len(phrase) > 1 else (ends[0],))
                    found.setdefault((rule.kind_of(first), rule.kind_of(last)), []).append(written)
    return {kinds: OneOf(tuple(written)) for kinds, written in found.items()}


def _before(first: int, rule: JoiningRule) -> Expression:
    """What may stand before a phrase whose first character is of a kind."""
    return ANYTHING if first == 0 else OneOf((NOTHING, InTurn((ANYTHING, _apart_from(first, rule)))))


def _between(last: int, first: int, rule: JoiningRule) -> Expression:
    """What may stand between two phrases, given the kinds of the characters on its sides."""
    close = () if rule.joined(last, first) else (NOTHING,)
    one = Characters(_apart_set(last, rule) & _apart_set(first, rule))
    return OneOf((*close, one, InTurn((_apart_from(last, rule), ANYTHING, _apart_from(first, rule)))))


def _apart_from(kind: int, rule: JoiningRule) -> Expression:
    return Characters(_apart_set(kind, rule))


def _apart_set(kind: int, rule: JoiningRule) -> CharacterSet:
    """The characters that do not join one of a kind."""
    return ~_of_kind(rule, kind) if kind else ~CharacterSet()


@lru_cache(maxsize=16)
def _of_kind(rule: JoiningRule, kind: int) -> CharacterSet:
    return CharacterSet.where(rule.kinds[:CHARACTERS] == kind)
