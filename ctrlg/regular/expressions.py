"""Regular expressions as trees. `ctrlg.regular.positions` turns them into automata."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from ctrlg.regular.character_sets import EVERY, CharacterSet
from ctrlg.regular.language import Language


class Place(enum.Enum):
    """Where in a text an anchor matches. A boundary "within ASCII" takes ASCII's letters, digits and "_" for words."""

    START = "\\A"
    LINE_START = "^ of a line"
    END = "\\Z"
    LAST_LINE_END = "$"
    LINE_END = "$ of a line"
    BOUNDARY = "\\b"
    NO_BOUNDARY = "\\B"
    ASCII_BOUNDARY = "\\b within ASCII"
    NO_ASCII_BOUNDARY = "\\B within ASCII"


@dataclass(frozen=True)
class Characters:
    """One character of a set."""

    members: CharacterSet


@dataclass(frozen=True)
class Sequence:
    """The parts, one after the other; without any, the empty text."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class OneOf:
    """One of the parts; without any, no text."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Repeat:
    """The part, `least` to `most` times; None sets no upper limit."""

    part: Expression
    least: int = 0
    most: int | None = None


@dataclass(frozen=True)
class At:
    """The empty text, at a certain place."""

    place: Place


@dataclass(frozen=True)
class Within:
    """A text of a language that is an automaton already."""

    language: Language


@dataclass(frozen=True)
class Graph:
    """The expressions along a path from a node to one of the last nodes, one after the other.

    Args:
        edges: from a node, an expression, to a node.
        first: the node in which every path begins.
        last: the nodes in which a path may end.
    """

    edges: tuple[tuple[int, Expression, int], ...]
    first: int
    last: frozenset[int]


Expression: TypeAlias = "Characters | Sequence | OneOf | Repeat | At | Within | Graph"

NOTHING = Sequence(())
"""The empty text."""

ANYTHING = Repeat(Characters(EVERY))
"""Any text."""


def literal(text: str) -> Expression:
    """One fixed text."""
    return Sequence(tuple(map(_one, text)))


@lru_cache(maxsize=4096)
def _one(character: str) -> Expression:
    return Characters(CharacterSet.of(character))
