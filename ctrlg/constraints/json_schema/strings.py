"""JSON's strings in their shortest form, as regular languages.

A language of strings is built over their characters; `quoted` turns it into the language of their JSON texts, by
following what each escape stands for. Only what must be escaped is: the quotation mark, the backslash and control
characters, as `json.dumps(..., ensure_ascii=False)` writes them.
"""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np

from ctrlg.automata.dfa import DFA
from ctrlg.regular import (
    ANYTHING,
    At,
    Expression,
    Graph,
    Language,
    OneOf,
    Place,
    Repeat,
    Sequence,
    Within,
    language_of,
    literal,
    parsed,
)

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_PLAIN, _ESCAPE, _U, _U0, _U00, _U000, _U001 = range(7)  # places inside of a character
_MONTHS = (
    r"(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8])"
)
_LEAP_DAY = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29"
_DATE = rf"(?:[0-9]{{4}}-(?:{_MONTHS})|{_LEAP_DAY})"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "email": rf"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@{_LABEL}(?:\.{_LABEL})+",
    "ipv4": rf"{_BYTE}(?:\.{_BYTE}){{3}}",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "uri": r"[a-z][a-z0-9+.-]*://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~%!$&'()*+,;=:@/-]*)?",
}
"""What strings of a format look like; each is a part of what its standard allows."""


def quoted(strings: Language) -> Language:
    """The JSON texts of some strings."""
    dfa = strings.dfa
    marks = sorted({0, 0x20, *(ord(c) + shift for c in '"\\bfnrtu0123456789abcdef' for shift in (0, 1))})
    starts = np.unique(np.concatenate([strings.starts, np.array([*range(0x20), *marks], dtype=np.int64)]))
    states = dfa.num_states
    dead = 7 * states
    delta = np.full((dead + 1, len(starts)), dead, dtype=np.int32)
    column = {int(start): place for place, start in enumerate(starts)}
    # int [S, I]: what each character of a string leads to.
    following = dfa.delta[:, dfa.class_of[np.searchsorted(strings.starts, starts, side="right") - 1]]

    def block(place: int) -> slice:
        return slice(place * states, (place + 1) * states)

    plain = np.flatnonzero((starts >= 0x20) & (starts != ord('"')) & (starts != ord("\\")))
    delta[block(_PLAIN), plain] = following[:, plain]
    own = np.arange(states)
    delta[block(_PLAIN), column[ord("\\")]] = _ESCAPE * states + own
    for letter, character in _ESCAPES.items():
        delta[block(_ESCAPE), column[ord(letter)]] = following[:, column[ord(character)]]
    for place, letter, after in (
        (_ESCAPE, "u", _U),
        (_U, "0", _U0),
        (_U0, "0", _U00),
        (_U00, "0", _U000),
        (_U00, "1", _U001),
    ):
        delta[block(place), column[ord(letter)]] = after * states + own
    for point in range(0x20):
        if chr(point) not in _ESCAPES.values():
            place = _U001 if point >= 16 else _U000
            delta[block(place), column[ord(f"{point % 16:x}")]] = following[:, column[point]]
    accepting = np.append(dfa.accepting, np.zeros(dead + 1 - states, dtype=bool))
    inner = Language.of(starts, DFA(np.arange(len(starts)), delta, dfa.initial, accepting))
    return language_of(Sequence((literal('"'), Within(inner), literal('"'))))


@lru_cache(maxsize=1)
def all_strings() -> Language:
    """The JSON texts of all strings."""
    return quoted(language_of(ANYTHING))


def written(text: str) -> str:
    """The JSON text of a string."""
    return json.dumps(text, ensure_ascii=False)


def matching(pattern: str) -> tuple[Language, Language]:
    """Strings in which a pattern matches, as Python reads it, and as JavaScript does.

    The two differ in what digits, words and spaces are, and in whether "$" matches before a last line break.

    Raises:
        ConstraintError: the pattern cannot be read, or is not regular.
    """
    python, other = parsed(pattern), _with_strict_ends(parsed(f"(?a:{pattern})"))
    return (
        language_of(Sequence((ANYTHING, python, ANYTHING))),
        language_of(Sequence((ANYTHING, other, ANYTHING))),
    )


def _with_strict_ends(expression: Expression) -> Expression:
    """The same expression, whose "$" matches at the end of the text alone."""
    if isinstance(expression, At):
        return At(Place.END) if expression.place is Place.LAST_LINE_END else expression
    if isinstance(expression, Sequence):
        return Sequence(tuple(map(_with_strict_ends, expression.parts)))
    if isinstance(expression, OneOf):
        return OneOf(tuple(map(_with_strict_ends, expression.parts)))
    if isinstance(expression, Repeat):
        return Repeat(_with_strict_ends(expression.part), expression.least, expression.most)
    if isinstance(expression, Graph):
        edges = ((source, _with_strict_ends(inner), target) for source, inner, target in expression.edges)
        return Graph(tuple(edges), expression.first, expression.last)
    return expression
