"""Phrases that must occur: what is found is sure to be in the text.

Words under way are forgotten at token ends unless the tokenizer itself would cut there, so a rarer way to write a
phrase does not count. That keeps the automaton small: its states are those of the usual spellings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ctrlg.constraints.base import Target
from ctrlg.constraints.phrases.construction import NONE, Construction, Reached
from ctrlg.constraints.phrases.tries import Symbols
from ctrlg.constraints.words import JoiningRule
from ctrlg.vocabulary.characters import symbols_of


class SureConfiguration(NamedTuple):
    """A `Configuration`, and what decides which words under way may be forgotten.

    fresh: no word character since the last white space. opening: still in the first word of the text.
    """

    stage: int
    nodes: frozenset[int] = NONE
    last: int = 0
    matched: bool = False
    closing: bool = False
    fresh: bool = True
    opening: bool = True


class SureConstruction(Construction[SureConfiguration]):
    """Accepts contents with which the finished text is found, and no others."""

    def __init__(
        self, stages: Sequence[Sequence[str]], rule: JoiningRule, at_end: bool, target: Target, name: str
    ) -> None:
        super().__init__(stages, rule, at_end, target, name)
        self._cuts = self._cuts_of([" "], capitals=False)
        self._opening_cuts = self._cuts_of([" ", ""], capitals=True)

    def _begin(self, stage: int) -> SureConfiguration:
        return SureConfiguration(stage)

    def _accepts(self, now: SureConfiguration) -> bool:
        return self._found(now)

    def _at_token_end(self, now: SureConfiguration) -> SureConfiguration:
        """Words under way are remembered only where the tokenizer itself would cut them (in the first word of a text,
        also capitalised), and the right to begin one only behind white space, with or without opening punctuation.
        """
        # What is forgotten here can only make the automaton miss a phrase, never find one that is not there. Where no
        # word may begin, `last` becomes the highest kind: STRICT has one kind of word character, all of which join.
        nodes = now.nodes & (self._opening_cuts if now.opening else self._cuts)
        last = now.last if now.fresh or now.matched else max(now.last, self._rule.highest)
        return now._replace(nodes=nodes, last=last, opening=now.opening and (now.fresh or bool(nodes)))

    def _ends_word(self, last: int, symbol: Symbols) -> bool:
        # Whatever character the symbol turns out to be.
        return not any(self._rule.joined(last, kind) for kind in symbol.kinds)

    def _goes_on_with_letters(self, symbol: Symbols) -> bool:
        return symbol.form == "whole"

    def _last_kind(self, before: int, symbol: Symbols) -> int:
        # Of an unfinished character the highest kind it can have: in doubt no word begins behind it.
        return before if symbol.form == "continuation" else max(symbol.kinds)

    def _configuration(
        self, now: SureConfiguration, symbol: Symbols, reached: Reached, nodes: frozenset[int]
    ) -> SureConfiguration:
        # White space makes fresh; punctuation (kind 0) leaves it so, as an opening quotation mark does.
        fresh = (symbol.form == "whole" and symbol.space) or (now.fresh and reached.last == 0)
        opening = now.opening and (fresh or bool(reached.nodes))
        stage, under_way, last, matched, closing, _ = reached
        return SureConfiguration(stage, under_way, last, matched, closing, fresh, opening)

    def _cuts_of(self, befores: Sequence[str], *, capitals: bool) -> frozenset[int]:
        """Nodes under way where the tokenizer's own spelling of a phrase has a token end."""
        vocabulary = self._target.vocabulary
        cuts: set[int] = set()
        for stage, phrases in enumerate(self._stages):
            capital = [phrase[:1].upper() + phrase[1:] for phrase in phrases] if capitals else []
            texts = [before + phrase for phrase in dict.fromkeys((*phrases, *capital)) for before in befores]
            # The tokenizer's own tokens are run through the trie; where one ends inside a phrase, the nodes under way
            # are those worth remembering. This runs before any state is built, so the sets are ready for
            # `_at_token_end`.
            for ids in vocabulary.spell(texts):
                now = SureConfiguration(stage)
                for token in ids or ():
                    for symbol in symbols_of(vocabulary.token_bytes[token] or b""):
                        now = self._step(now, self._symbols[self._class_of[symbol]])
                    if now.stage == stage:
                        cuts |= now.nodes
        return frozenset(cuts)
