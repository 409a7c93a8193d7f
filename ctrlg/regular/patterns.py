"""Python's patterns, as far as they are regular, as expressions.

Python's own parser reads the pattern, so that every escape, flag and corner of the syntax means what it means to `re`.
Its tree has had the same shape since Python 3.7, and the tests hold it against `re.fullmatch`. What is not regular is
refused by name and position: look-around, back-references, conditional and atomic groups, possessive quantifiers.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from ctrlg.errors import ConstraintError
from ctrlg.regular.character_sets import (
    ASCII,
    EVERY,
    CharacterSet,
    cased,
    digits,
    spaces,
    word_characters,
)
from ctrlg.regular.expressions import At, Characters, Expression, OneOf, Place, Repeat, Sequence

_IGNORE_CASE, _MULTI_LINE, _DOT_ALL, _ASCII, _VERBOSE = (
    int(flag) for flag in (re.IGNORECASE, re.MULTILINE, re.DOTALL, re.ASCII, re.VERBOSE)
)
_SCAN = re.compile(
    r"""
    \\ (?: [0-3][0-7]{2} | 0[0-7]? )                        # a character by its octal number
    | (?P<back_reference> \\ [1-9][0-9]? | \(\?P= )
    | \\ .
    | \[ \^? \]? (?: \\ . | [^\]\\] )* \]                   # a set of characters
    | \(\?\# [^)]* \)                                       # a comment
    | (?P<conditional_group> \(\?\( )
    | (?P<atomic_group> \(\?> )
    | (?P<look_ahead> \(\?[=!] )
    | (?P<look_behind> \(\?<[=!] )
    | (?: [*+?] | \{ [0-9]* ,? [0-9]* \} ) (?P<possessive_quantifier> \+ )
    | (?P<line_comment> \# [^\n]* )
    """,
    re.VERBOSE | re.DOTALL,
)


def parsed(pattern: str, flags: int = 0) -> Expression:
    """The expression of a pattern.

    Args:
        pattern: as for `re.fullmatch`.
        flags: of `re`, beside those the pattern itself sets.

    Raises:
        ConstraintError: Python cannot read the pattern, or it is not regular; the message says what and where.
    """
    try:
        tree = _parser().parse(pattern, flags)
        return _sequence(tree, tree.state.flags)
    except re.error as error:
        raise ConstraintError(
            f"the pattern {pattern!r} is no regular expression: {error}", hint="write it as for Python's re module"
        ) from error
    except RecursionError:
        raise ConstraintError("the pattern has too many groups in groups", hint="write it with fewer") from None
    except _Irregular as irregular:
        name, position = _irregular_at(pattern, flags, str(irregular))
        raise ConstraintError(
            f"the pattern {pattern!r} has a {name} at position {position}, which no automaton follows",
            hint="write what it asks for in another way; conditions on the same text combine with & and ~",
        ) from None


class _Irregular(Exception):
    """A part of the tree that is not regular, by name."""


@lru_cache(maxsize=1)
def _parser() -> Any:
    # The module moved in Python 3.11; under its old name it warns there.
    return importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")


def _sequence(items: Iterable[tuple[Any, Any]], flags: int) -> Expression:
    parts = tuple(_part(str(code), argument, flags) for code, argument in items)
    return parts[0] if len(parts) == 1 else Sequence(parts)


def _part(code: str, argument: Any, flags: int) -> Expression:
    """The expression of one entry of Python's tree: the name of an operation and its argument."""
    if code == "LITERAL":
        return Characters(_members(((code, argument),), flags))
    if code == "NOT_LITERAL":
        return Characters(_members((("NEGATE", None), ("LITERAL", argument)), flags))
    if code == "IN":
        entries = ((str(name), str(value) if str(name) == "CATEGORY" else value) for name, value in argument)
        return Characters(_members(tuple(entries), flags))
    if code == "ANY":
        return Characters(EVERY if flags & _DOT_ALL else ~CharacterSet.of("\n"))
    if code == "BRANCH":
        return OneOf(tuple(_sequence(branch, flags) for branch in argument[1]))
    if code == "SUBPATTERN":
        _, added, removed, inner = argument
        return _sequence(inner, (flags | added) & ~removed)
    if code in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, inner = argument
        return Repeat(_sequence(inner, flags), int(least), None if most == _parser().MAXREPEAT else int(most))
    if code == "AT":
        return At(_place(str(argument), flags))
    raise _Irregular(_NAMES.get(code, code.lower().replace("_", " ")))


_NAMES = {
    "GROUPREF": "back-reference",
    "GROUPREF_EXISTS": "conditional group",
    "ASSERT": "look-around",
    "ASSERT_NOT": "look-around",
    "POSSESSIVE_REPEAT": "possessive quantifier",
}


def _place(name: str, flags: int) -> Place:
    lines, ascii_only = flags & _MULTI_LINE, flags & _ASCII
    return {
        "AT_BEGINNING": Place.LINE_START if lines else Place.START,
        "AT_BEGINNING_STRING": Place.START,
        "AT_END": Place.LINE_END if lines else Place.LAST_LINE_END,
        "AT_END_STRING": Place.END,
        "AT_BOUNDARY": Place.ASCII_BOUNDARY if ascii_only else Place.BOUNDARY,
        "AT_NON_BOUNDARY": Place.NO_ASCII_BOUNDARY if ascii_only else Place.NO_BOUNDARY,
    }[name]


@lru_cache(maxsize=4096)
def _members(items: tuple[tuple[str, Any], ...], flags: int) -> CharacterSet:
    """The characters of a set as Python's parser gives it: perhaps NEGATE, then literals, ranges and categories."""
    exact = _with_case(items, flags)
    if not flags & _IGNORE_CASE:
        return exact
    # What case means to `re` is asked of `re` itself, with a set of the same entries; only characters that have another
    # case can be affected.
    pattern = re.compile(f"[{''.join(map(_written, items))}]", flags & (_IGNORE_CASE | _ASCII))
    return (exact - cased()) | CharacterSet.of(pattern.findall(_all_cased()))


def _with_case(items: tuple[tuple[str, Any], ...], flags: int) -> CharacterSet:
    negated = items[0][0] == "NEGATE"
    ranges: list[tuple[int, int]] = []
    members = CharacterSet()
    for name, value in items[negated:]:
        if name == "CATEGORY":
            members |= _category(value, bool(flags & _ASCII))
        else:
            ranges.append((value, value) if name == "LITERAL" else value)
    members |= CharacterSet.of_ranges(ranges)
    return ~members if negated else members


def _category(name: str, ascii_only: bool) -> CharacterSet:
    kind = name.removeprefix("CATEGORY_")
    members = {"DIGIT": digits, "SPACE": spaces, "WORD": word_characters}[kind.removeprefix("NOT_")]()
    if ascii_only:
        members &= ASCII
        if kind.endswith("SPACE"):
            members = CharacterSet.of(" \t\n\r\f\v")
    return ~members if kind.startswith("NOT_") else members


def _written(item: tuple[str, Any]) -> str:
    """An entry of a set as a pattern has it."""
    name, value = item
    if name == "NEGATE":
        return "^"
    if name == "CATEGORY":
        negated = "NOT_" in value
        letter = value.removeprefix("CATEGORY_").removeprefix("NOT_")[0].lower()
        return f"\\{letter.upper() if negated else letter}"
    if name == "RANGE":
        return f"\\U{value[0]:08x}-\\U{value[1]:08x}"
    return f"\\U{value:08x}"


@lru_cache(maxsize=1)
def _all_cased() -> str:
    bounds = cased().bounds
    ranges = zip(bounds[::2], bounds[1::2], strict=True)
    return "".join(chr(point) for first, last in ranges for point in range(first, last))


def _irregular_at(pattern: str, flags: int, name: str) -> tuple[str, int]:
    """Name and position of the first part of a pattern that is not regular."""
    verbose = bool(_parser().parse(pattern, flags).state.flags & _VERBOSE)
    position = 0
    while match := _SCAN.search(pattern, position):
        position = match.end()
        found = match.lastgroup
        if found == "line_comment":
            position = match.end() if verbose else match.start() + 1
        elif found is not None:
            return found.replace("back_", "back-").replace("look_", "look-").replace("_", " "), match.start(found)
    return name, 0
