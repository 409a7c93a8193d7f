"""The same families as grammars, for programs that take one: words of letters with single spaces between them.

A grammar knows no number of tokens. Words that are none of some words are spelled out letter by letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_lowercase

from studies.families.instances import SEPARATOR, Instance

_LETTER = "[a-zA-Z]"
_WORD = f"({_LETTER}+ [,]?)"


def grammar_of(instance: Instance) -> str:
    """A grammar in GBNF for an instance."""
    k1, words = instance.k1, instance.words
    if instance.family == "k1-th word from the end":
        bodies = [f"{_before(_WORD)} {_any_of(words)} {_times(_next(_WORD), k1 - 1)}"]
    else:
        bodies = [_body(instance.family, word, k1) for word in words]
    return f"root ::= ({' | '.join(bodies)}) [.]?\n"


def _body(family: str, word: str, k1: int) -> str:
    it, sep = _any_of([word]), _any_of([SEPARATOR])
    other, not_sep, neither = _none_of([word]), _none_of([SEPARATOR]), _none_of([word, SEPARATOR])
    rest, others = f"{_next(_WORD)}*", f"{_next(other)}*"
    pair = f"({others} {_next(it)} {others} {_next(it)})*"
    left = f"{_before(not_sep)} {it} {_next(not_sep)}* {_next(sep)}"
    left_only = f"{left} {others}"
    right_only = f"{_before(neither)} {sep} {rest} {_next(it)} {rest}"
    bodies = {
        "again k1 words later": f"{_before(_WORD)} {it} {_times(_next(_WORD), k1 - 1)} {_next(it)} {rest}",
        "k1 times or more": f"{_before(_WORD)} {it} {_times(f'({rest} {_next(it)})', k1 - 1)} {rest}",
        "exactly once": f"{_before(other)} {it} {others}",
        "left only": left_only,
        "right only": right_only,
        "on one side": f"({left_only} | {right_only})",
        "on both sides": f"{left} {rest} {_next(it)} {rest}",
        "even, not never": f"{_before(other)} {it} {others} {_next(it)} {pair} {others}",
        "odd": f"{_before(other)} {it} {pair} {others}",
    }
    return bodies[family]


def _before(word: str) -> str:
    """Any number of words, and the space behind them."""
    return f'({word} (" " {word})* " ")?'


def _next(word: str) -> str:
    return f'(" " {word})'


def _times(expression: str, count: int) -> str:
    return f"{expression}{{{count}}}" if count else ""


def _any_of(words: Iterable[str]) -> str:
    """One of some words, in either case."""
    return f"(({' | '.join(' '.join(map(_either_case, word)) for word in words)}) [,]?)"


def _none_of(words: Sequence[str]) -> str:
    """A word that is none of some words."""
    return f"({_unlike([word.lower() for word in words], first=True)} [,]?)"


def _unlike(rests: Sequence[str], first: bool = False) -> str:
    """The rest of a word that is none of some rests; at the `first` letter it is not empty."""
    letters = list(dict.fromkeys(rest[0] for rest in rests if rest))
    ways = [
        f"{_either_case(letter)} {_unlike([rest[1:] for rest in rests if rest[:1] == letter])}" for letter in letters
    ]
    others = "".join(letter + letter.upper() for letter in ascii_lowercase if letter not in letters)
    ways.append(f"[{others}] {_LETTER}*")
    may_end = not first and "" not in rests
    return f"({' | '.join(ways)}){'?' if may_end else ''}"


def _either_case(letter: str) -> str:
    return f"[{letter.lower()}{letter.upper()}]"
