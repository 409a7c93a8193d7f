"""Phrases as tries of letters, and the classes of characters such a trie can tell apart.

Letters that are equal but for case are one *element*. White space between words is a node that further white space
stays in. Where a token cuts a character in two, the trie follows a phrase's own characters through both halves; letters
beyond ASCII that stand for ASCII ones (the Kelvin sign for k) are not worth it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.classes import compacted
from ctrlg.automata.exploration import require_states
from ctrlg.constraints.words import JoiningRule, over_symbols, variants, which
from ctrlg.vocabulary.characters import CONTINUATION, completions, unfinished_symbol


class Symbols(NamedTuple):
    """A class of symbols that a trie cannot tell apart.

    form: a whole character, the beginning of one, or a continuation byte.
    kinds: the kinds it can have. space: whether it is, or can become, white space.
    elements: the letters of phrases it is, or can become by ways the trie does not follow.
    half: the unfinished symbol or continuation byte that trie nodes ask for, else -1.
    """

    form: Literal["whole", "unfinished", "continuation"]
    kinds: frozenset[int]
    space: bool = False
    elements: frozenset[int] = frozenset()
    half: int = -1


@dataclass
class Node:
    """A place in a phrase; the nodes it leads to are given by number.

    inside: the kind of the character it is in the middle of, None between characters.
    children: by element. gap: white space. unfinished: by the symbol of a first half. continuation: by byte.
    """

    inside: int | None = None
    is_gap: bool = False
    phrase_ends: bool = False
    children: dict[int, int] = field(default_factory=dict)
    gap: int | None = None
    unfinished: dict[int, list[int]] = field(default_factory=dict)
    continuation: dict[int, int] = field(default_factory=dict)


class Trie:
    """Nodes of several tries that share their letters; `plant` adds one.

    Raises BudgetError, naming `name`, as soon as there are more than `max_nodes`.
    """

    def __init__(self, rule: JoiningRule, max_nodes: int, name: str) -> None:
        self.rule = rule
        self._max_nodes, self._name = max_nodes, name
        self.nodes: list[Node] = []
        self._element_of: dict[frozenset[str], int] = {}

    def plant(self, phrases: Iterable[str]) -> int:
        """Adds the trie of some phrases with single spaces; the number of its root."""
        root = self._new(Node())
        for phrase in phrases:
            node = root
            for character in phrase:
                node = self._gap(node) if character == " " else self._child(node, character)
            self.nodes[node].phrase_ends = True
        return root

    def classify(self, unfinished: Iterable[int]) -> tuple[list[Symbols], NDArray[np.uint16]]:
        """The classes, and the class of every symbol, uint16 [SYMBOLS]; `unfinished`: the halves in use."""
        kinds, spaces = self.rule.kinds, _spaces()
        number: dict[Symbols, int] = {}
        # Characters in no phrase: class = 2 * kind + (whether white space), numbered first and in this order, so that
        # the table of all symbols is one expression. Letters, halves and bytes get theirs after it.
        class_of = (kinds * 2 + spaces).astype(np.uint16)
        for code in range(2 * (self.rule.highest + 1)):
            _number(number, Symbols("whole", frozenset({code // 2}), bool(code % 2)))
        elements_of, unfollowed = self._letters()
        for character, elements in elements_of.items():
            point = ord(character)
            kind, space = frozenset({int(kinds[point])}), bool(spaces[point])
            class_of[point] = _number(number, Symbols("whole", kind, space, frozenset(elements)))
        asked = {byte for node in self.nodes for byte in node.continuation}
        for byte in range(0x80, 0xC0):
            half = byte if byte in asked else -1
            class_of[CONTINUATION + byte - 0x80] = _number(number, Symbols("continuation", frozenset({0}), half=half))
        # Halves that some node asks for are classes of their own; all others with the same kinds and letters share one.
        followed = {symbol for node in self.nodes for symbol in node.unfinished}
        for symbol in unfinished:
            # What an unfinished symbol may become: all its kinds, white space among them or not, and the letters beyond
            # ASCII for which no path through the halves is kept.
            points = completions(symbol)
            possible = (elements for character, elements in unfollowed.items() if ord(character) in points)
            beginning = Symbols(
                "unfinished",
                _kinds_within(self.rule, symbol),
                bool(spaces[points.start : points.stop].any()),
                frozenset[int]().union(*possible),
                half=symbol if symbol in followed else -1,
            )
            class_of[symbol] = _number(number, beginning)
        # A class without members, such as letters that are white space, would lead to states no text reaches, and to
        # exponentially many of them: it alone could leave out any one of several phrases under way.
        members, class_of = compacted(class_of, len(number))
        classes = list(number)
        return [classes[code] for code in members.tolist()], class_of.astype(np.uint16)

    def _new(self, node: Node) -> int:
        self.nodes.append(node)
        require_states(len(self.nodes), self._max_nodes, self._name)
        return len(self.nodes) - 1

    def _gap(self, parent: int) -> int:
        gap = self.nodes[parent].gap
        if gap is None:
            gap = self.nodes[parent].gap = self._new(Node(is_gap=True))
        return gap

    def _child(self, parent: int, character: str) -> int:
        # "a" and "A" are one child. Where all variants are beyond ASCII, each gets ways of its own through its halves,
        # for their bytes differ.
        alike = variants(character)
        element = self._element_of.setdefault(alike, len(self._element_of))
        child = self.nodes[parent].children.get(element)
        if child is None:
            child = self.nodes[parent].children[element] = self._new(Node())
            for letter in sorted(alike) if _followed(alike) else ():
                self._follow_halves(parent, letter, child)
        return child

    def _follow_halves(self, parent: int, character: str, child: int) -> None:
        data = character.encode()
        # From the last cut to the first: the node behind cut c waits for byte c and leads to the node behind cut c + 1,
        # at the end to the child. A token may end at any cut, so the parent leads into each by its first bytes.
        following = child
        for cut in range(len(data) - 1, 0, -1):
            following = self._new(Node(inside=self.rule.kind_of(character), continuation={data[cut]: following}))
            self.nodes[parent].unfinished.setdefault(unfinished_symbol(data[:cut]), []).append(following)

    def _letters(self) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
        """The elements of every letter of the phrases, and of those beyond ASCII that the trie does not follow."""
        elements_of: dict[str, set[int]] = {}
        unfollowed: dict[str, set[int]] = {}
        for alike, element in self._element_of.items():
            for character in alike:
                elements_of.setdefault(character, set()).add(element)
                if character > "\x7f" and not _followed(alike):
                    unfollowed.setdefault(character, set()).add(element)
        return elements_of, unfollowed


def _followed(alike: frozenset[str]) -> bool:
    return min(alike) > "\x7f"


def _number(number: dict[Symbols, int], symbol: Symbols) -> int:
    return number.setdefault(symbol, len(number))


@lru_cache(maxsize=1)
def _spaces() -> NDArray[np.uint8]:
    return over_symbols(which(str.isspace))


@lru_cache(maxsize=4096)
def _kinds_within(rule: JoiningRule, unfinished: int) -> frozenset[int]:
    """The kinds an unfinished character can have; 0 among them, as it may stay unfinished."""
    points = completions(unfinished)
    return frozenset({0, *np.unique(rule.kinds[points.start : points.stop]).tolist()})
