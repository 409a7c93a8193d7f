"""Phrases that must not occur: whatever may be in the text is found, however it is cut into tokens."""

from __future__ import annotations

from typing import NamedTuple

from ctrlg.constraints.phrases.construction import NONE, Construction, Reached
from ctrlg.constraints.phrases.tries import Symbols


class PossibleConfiguration(NamedTuple):
    """A `Configuration`, and what may still turn out otherwise.

    doubted: nodes reached by the first half of a character that may turn out otherwise.
    """

    stage: int
    nodes: frozenset[int] = NONE
    last: int = 0
    matched: bool = False
    closing: bool = False
    doubted: frozenset[int] = NONE


class PossibleConstruction(Construction[PossibleConfiguration]):
    """Accepts contents with which the finished text is surely *not* found."""

    def _begin(self, stage: int) -> PossibleConfiguration:
        return PossibleConfiguration(stage)

    def _accepts(self, now: PossibleConfiguration) -> bool:
        # Found, in this reading, is whatever may be in the text; only texts in which nothing may be found are accepted.
        return not self._found(now)

    def _at_token_end(self, now: PossibleConfiguration) -> PossibleConfiguration:
        return now

    def _ends_word(self, last: int, symbol: Symbols) -> bool:
        # For one of the characters that the symbol may turn out to be.
        return any(not self._rule.joined(last, kind) for kind in symbol.kinds)

    def _goes_on_with_letters(self, symbol: Symbols) -> bool:
        return True

    def _last_kind(self, before: int, symbol: Symbols) -> int:
        # Of an unfinished character the lowest kind it can have: with 0, words begin and end around it.
        return 0 if symbol.form == "continuation" else min(symbol.kinds)

    def _configuration(
        self, now: PossibleConfiguration, symbol: Symbols, reached: Reached, nodes: frozenset[int]
    ) -> PossibleConfiguration:
        stage, under_way, last, matched, closing, inside = reached
        # A whole character, or one whose last half told it, ends the doubt. Otherwise nodes that an unfinished symbol
        # reached by its letters are kept through the continuation bytes, which lead nowhere in the trie.
        certain = symbol.form == "whole" or inside is not None
        doubted = NONE if certain else self._doubted(now.doubted & nodes, under_way, symbol)
        return PossibleConfiguration(stage, under_way | doubted, last, matched, closing, doubted)

    def _doubted(self, before: frozenset[int], reached: frozenset[int], symbol: Symbols) -> frozenset[int]:
        """Nodes that hold if a character cut in two turns out to be the letter or space the trie allowed for."""
        if symbol.form == "continuation":
            return before
        return frozenset(node for node in reached if self._trie.nodes[node].inside is None)
