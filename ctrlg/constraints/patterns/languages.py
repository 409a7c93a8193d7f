"""The texts that keep a constraint, as a regular language: for constraints about a part of a text.

A constraint on a line or a gap is about that part alone, so its automaton over tokens is of no use: where the part
begins and ends, nobody knows before it is read. Its language over characters is, and it is exact. Text is whole
characters here, so that nothing is in doubt; what is cut in two is left to `ctrlg.regular.halves`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import singledispatch
from typing import Literal

from ctrlg.automata.algebra import MAX_STATES
from ctrlg.constraints.base import AllOf, AnyOf, Constraint, Not, named
from ctrlg.constraints.ending import EndsWith
from ctrlg.constraints.exclusion import Exclude
from ctrlg.constraints.keywords import Keywords, Ordered
from ctrlg.constraints.one_line import OneLine
from ctrlg.constraints.one_sentence import ENDS, MARKS, OneSentence
from ctrlg.constraints.patterns.phrase_languages import at_the_end, in_order
from ctrlg.constraints.patterns.regular import RegularConstraint
from ctrlg.constraints.word_count import WordCount
from ctrlg.constraints.words import ANYWHERE, LENIENT, STRICT, JoiningRule, as_phrases
from ctrlg.errors import ConstraintError
from ctrlg.regular import ANYTHING, Characters, CharacterSet, Language, OneOf, Repeat, language_of, parsed
from ctrlg.regular import Sequence as InTurn
from ctrlg.regular.character_sets import spaces
from ctrlg.regular.language import combined
from ctrlg.vocabulary.characters import CHARACTERS


@singledispatch
def texts_of(constraint: Constraint, max_states: int = MAX_STATES) -> Language:
    """The texts that keep a constraint, exactly.

    Args:
        constraint: a regular one, a phrase search, a count of words, or a combination of these.
        max_states: most states on the way.

    Raises:
        ConstraintError: another constraint; the message names it.
        BudgetError: more states are needed.
    """
    raise ConstraintError(
        f"a part of a text cannot keep this constraint by itself: {named(constraint)}",
        hint="use constraints such as Regex, WordCount, Keywords and Exclude for parts, and others for the whole text",
    )


@texts_of.register
def _(constraint: RegularConstraint, max_states: int = MAX_STATES) -> Language:
    return constraint.language(max_states)


@texts_of.register
def _(constraint: AllOf, max_states: int = MAX_STATES) -> Language:
    return _combined(constraint.constraints, "intersection", max_states)


@texts_of.register
def _(constraint: AnyOf, max_states: int = MAX_STATES) -> Language:
    return _combined(constraint.constraints, "union", max_states)


@texts_of.register
def _(constraint: Not, max_states: int = MAX_STATES) -> Language:
    return ~texts_of(constraint.constraint, max_states)


@texts_of.register
def _(constraint: WordCount, max_states: int = MAX_STATES) -> Language:
    letters = CharacterSet.where(STRICT.kinds[:CHARACTERS] == 1) - spaces()
    space, signs = Characters(spaces()), Repeat(Characters(~spaces() - letters))
    word = InTurn((signs, Characters(letters), Repeat(Characters(~spaces()))))
    no_words = Repeat(InTurn((signs, space)))
    end = OneOf((InTurn(()), InTurn((space, no_words, signs))))
    least, most = constraint.lo, constraint.hi
    texts = []
    if most != 0:
        further = InTurn((space, no_words, word))
        rest = Repeat(further, max(0, least - 1), None if most is None else most - 1)
        texts.append(InTurn((no_words, word, rest, end)))
    if least == 0:
        texts.append(InTurn((no_words, signs)))
    return language_of(OneOf(tuple(texts)), max_states, named(constraint))


@texts_of.register
def _(constraint: OneLine, max_states: int = MAX_STATES) -> Language:
    return _without(r"  |[^\S ]", constraint, max_states)


@texts_of.register
def _(constraint: OneSentence, max_states: int = MAX_STATES) -> Language:
    marks, ends = re.escape(MARKS), re.escape(ENDS)
    crowded = rf"(?:\A|[{marks}])[ \t\n\r\f\v]*[{marks}{ends}]"
    return _without(rf"{crowded}|[{ends}](?a:[\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f])", constraint, max_states)


@texts_of.register
def _(constraint: Keywords, max_states: int = MAX_STATES) -> Language:
    rule = STRICT if constraint.whole_word else ANYWHERE
    found = [_occurring([forms], rule, constraint, max_states) for forms in constraint.forms]
    return combined(found, "intersection", max_states) if found else language_of(ANYTHING)


@texts_of.register
def _(constraint: Ordered, max_states: int = MAX_STATES) -> Language:
    return _occurring(constraint.forms, STRICT if constraint.whole_word else ANYWHERE, constraint, max_states)


@texts_of.register
def _(constraint: Exclude, max_states: int = MAX_STATES) -> Language:
    phrases = as_phrases(constraint.phrases)
    return ~_occurring([phrases], LENIENT if constraint.whole_word else ANYWHERE, constraint, max_states)


@texts_of.register
def _(constraint: EndsWith, max_states: int = MAX_STATES) -> Language:
    return language_of(at_the_end(as_phrases(constraint.phrases), STRICT), max_states, named(constraint))


def _occurring(stages: Sequence[Sequence[str]], rule: JoiningRule, constraint: Constraint, max_states: int) -> Language:
    return language_of(in_order(stages, rule), max_states, named(constraint))


def _without(pattern: str, constraint: Constraint, max_states: int) -> Language:
    """Texts in which a pattern matches nowhere."""
    return ~language_of(InTurn((ANYTHING, parsed(pattern), ANYTHING)), max_states, named(constraint))


def _combined(constraints: Sequence[Constraint], mode: Literal["intersection", "union"], max_states: int) -> Language:
    if not constraints:
        return language_of(ANYTHING if mode == "intersection" else OneOf(()))
    return combined([texts_of(constraint, max_states) for constraint in constraints], mode, max_states)
