"""A concept set's constraint as one regular expression, for libraries that write by regular expressions, and what
writing by them, or by a prompt, costs.

A regular expression has no "and": any order is an alternation over the orders, and a number of words one over the ways
in which the other words can stand between the concepts. So an expression grows like the factorial of the number of
concepts and like the combinations of numbers of words; giving up some of the texts is what makes it small.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from ctrlg.constraints import Keywords
from ctrlg.errors import ArgumentError

WORD = "[A-Za-z]+,?"
"""Any word; without digits, hyphens and apostrophes, so that the automaton stays small."""


class Counting(enum.Enum):
    """How an expression counts words. EXACT: all texts of so many words. SHARED: every gap between concepts has its own
    even share of the other words; all that matches has the right number, but not every text that has it matches. NONE:
    any number of words."""

    EXACT = "exact"
    SHARED = "shared"
    NONE = "none"


class Attempt(NamedTuple):
    """One sentence that was written, and the seconds it took.

    setup_seconds: for what a constraint needs before its first token. seconds: behind that, symbolic_seconds among
    them, in which the constraint was looked after. steps: tokens written one after another.
    """

    text: str
    setup_seconds: float
    seconds: float
    symbolic_seconds: float
    steps: int


def constraint_pattern(
    concepts: Sequence[str], words: tuple[int, int], counting: Counting = Counting.EXACT, any_order: bool = True
) -> str:
    """The texts that use every concept in some inflection, as a regular expression for `re.fullmatch`.

    Texts are words of ASCII letters, single spaces between them, commas behind them, one full stop at the end; concepts
    are in lower case, but for their first letter. In any order and counted exactly, it matches those of them that keep
    the constraint (`ConceptSet.constraint`); in the order given, or counted otherwise, see `Counting`. It has no
    look-around, which automata cannot do. words: least and most.
    Raises ArgumentError for no concept, for a range without room for them, and for a form of several words.
    """
    pieces = tuple(_concept(forms) for forms in Keywords([[concept] for concept in concepts], inflect=True).forms)
    least, most = words[0] - len(pieces), words[1] - len(pieces)
    if not pieces or most < max(0, least):
        raise ArgumentError(f"{len(pieces)} concepts in {words} words", hint="least and most, with room for them all")
    gaps = _gaps(counting, len(pieces), max(0, least), most)
    return rf"{_text(pieces, gaps, any_order)}\."


def _concept(forms: Sequence[str]) -> str:
    """Any of the forms, in lower case but for the first letter, and a comma or none."""
    several = [form for form in forms if len(form.split()) != 1]
    if several:
        raise ArgumentError(f"the form {several[0]!r} has several words", hint="concepts of one word")
    return f"{_either([_capital_or_not(form) for form in forms])},?"


def _capital_or_not(form: str) -> str:
    """Letters of any case would let in "stoOd" and "fIELDing", and a language model writes them when cornered."""
    first, rest = form[0].lower(), form[1:].lower()
    either = f"[{first.upper()}{first}]" if first.upper() != first else re.escape(first)
    return f"{either}{re.escape(rest)}"


class _Gap(NamedTuple):
    """Least and most of other words before the next concept, and what is left of them for the gaps behind it."""

    least: int
    most: int | None
    behind: _Gaps


_Gaps = tuple[_Gap, ...]
"""The alternatives for the next gap; of the last one, behind the last concept, nothing is behind."""


def _gaps(counting: Counting, concepts: int, least: int, most: int) -> _Gaps:
    """All ways to share out so many other words before, between and behind the concepts."""
    if counting is Counting.EXACT:
        return _exact_gaps(concepts, least, most)
    shares: list[tuple[int, int | None]] = [(0, None)] * (concepts + 1)
    if counting is Counting.SHARED:
        shares = list(zip(_shares(least, concepts + 1), _shares(most, concepts + 1), strict=True))
    gaps: _Gaps = ()
    for share in reversed(shares):
        gaps = (_Gap(*share, gaps),)
    return gaps


@cache
def _exact_gaps(concepts: int, least: int, most: int) -> _Gaps:
    if concepts == 0:
        return (_Gap(least, most, ()),)
    return tuple(
        _Gap(count, count, _exact_gaps(concepts - 1, max(0, least - count), most - count)) for count in range(most + 1)
    )


def _shares(total: int, parts: int) -> list[int]:
    """Even shares, the larger ones first."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def _text(pieces: tuple[str, ...], gaps: _Gaps, any_order: bool) -> str:
    """Gaps and concepts in turn; a word other than the first has a space before it."""

    known: dict[tuple[tuple[str, ...], int], str] = {}

    def rest(left: tuple[str, ...], gaps: _Gaps) -> str:
        key = left, id(gaps)  # the trees share branches, and take long to hash
        if key not in known:
            parts = [f"{_others(gap.least, gap.most)}{concept(left, gap.behind)}" for gap in gaps]
            known[key] = _either(parts)
        return known[key]

    def concept(left: tuple[str, ...], gaps: _Gaps, before: str = " ") -> str:
        places = range(len(left) if any_order else min(1, len(left)))
        return _either([f"{before}{left[place]}{rest(left[:place] + left[place + 1 :], gaps)}" for place in places])

    begins = [concept(pieces, gap.behind, before="") for gap in gaps if gap.least == 0]
    later = tuple(
        gap._replace(least=max(0, gap.least - 1), most=None if gap.most is None else gap.most - 1)
        for gap in gaps
        if gap.most != 0
    )
    return _either([*begins, *([f"{WORD}{rest(pieces, later)}"] if later else [])])


def _others(least: int, most: int | None) -> str:
    """So many other words, or any number of them."""
    if most == 0:
        return ""
    return f"(?: {WORD})*" if most is None else f"(?: {WORD}){{{least},{most}}}"


def _either(patterns: Sequence[str]) -> str:
    """One of the patterns; of none, as behind the last concept, nothing."""
    return "".join(patterns) if len(patterns) < 2 else f"(?:{'|'.join(patterns)})"
