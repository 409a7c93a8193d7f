"""Automata over text that look for phrases.

A configuration is the set of trie nodes that may be under way, the kind of the last character, and whether a phrase has
just ended that the next character could still continue; the subset construction numbers the configurations it meets.

Where a token cuts a character in two, the automaton is in doubt until the other half comes. It reads either so that
what it finds is *sure* to be in the text (for what must occur), or so that it finds whatever is *possible* (for what
must not).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ctrlg.automata.dfa import DFA
from ctrlg.automata.exploration import explore_one_by_one
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.constraints.base import Target
from ctrlg.constraints.tries import Symbols, Trie
from ctrlg.constraints.words import JoiningRule, spellings
from ctrlg.vocabulary.characters import symbols_of

Reading = Literal["sure", "possible"]
_NONE: frozenset[int] = frozenset()


class Configuration(NamedTuple):
    """What the automaton knows.

    stage: how many stages are complete. nodes: trie nodes under way in this stage. last: kind of the last character.
    matched: a phrase ended with the last character, whole so far. closing (only at the end of texts): after such a
    phrase nothing but characters of no word have come.
    Only where reading is sure, for what may be forgotten: fresh: no character of a word since the last white space;
    opening: still in the first word of the text.
    Only where reading is possible: doubted: nodes reached by the first half of a character that may turn out otherwise.
    """

    stage: int
    nodes: frozenset[int] = _NONE
    last: int = 0
    matched: bool = False
    closing: bool = False
    fresh: bool = True
    opening: bool = True
    doubted: frozenset[int] = _NONE


@dataclass(frozen=True)
class PhraseSearch:
    """Finds texts in which a phrase of the first stage occurs, then, behind it, one of the second, and so on.

    stages: phrases of each stage, one of which is enough. rule: where words end. reading: see the module.
    at_end: there is one stage and its phrase ends the text; after a last letter or digit, characters of no word may
    follow.
    """

    stages: tuple[tuple[str, ...], ...]
    rule: JoiningRule
    reading: Reading
    at_end: bool = False

    def contents(self, target: Target, name: str) -> DFA:
        """Contents with which the finished text is found: read as sure, no others; read as possible, all of these but
        more. Read as possible, the automaton accepts the contents that are *not* found.

        Read as sure, words under way are forgotten at token ends unless the tokenizer itself would cut there, so a
        rarer way to write a phrase does not count. The result is not minimised.
        Raises BudgetError, naming `name`, as soon as more than target.max_states states are met on the way.
        """
        return _Construction(self, target, name).contents()


class _Construction:
    """The subset construction of one search."""

    def __init__(self, search: PhraseSearch, target: Target, name: str) -> None:
        self._target, self._name = target, name
        self._sure, self._at_end = search.reading == "sure", search.at_end
        self._rule = search.rule
        self._stages = [spellings(stage) for stage in search.stages]
        self._trie = Trie(search.rule, target.max_states, name)
        self._roots = [self._trie.plant(stage) for stage in self._stages]
        self._symbols, self._class_of = self._trie.classify(target.vocabulary.symbols.unfinished.tolist())
        self._plain, self._plain_of, self._asking = _by_elements(self._symbols)
        self._cuts = self._cuts_of([" "], capitals=False) if self._sure else _NONE
        self._opening_cuts = self._cuts_of([" ", ""], capitals=True) if self._sure else _NONE

    def contents(self) -> DFA:
        order, table = explore_one_by_one(Configuration(0), self._follow, self._target.max_states, self._name)
        found = np.array([self._found(configuration) for configuration in order])
        text = TextDFA(self._class_of, table[:, :-1], 0, found if self._sure else ~found, table[:, -1])
        target = self._target
        return lift(text, target.vocabulary, prefix=target.prefix, suffix=target.suffix, name=self._name)

    def _follow(self, now: Configuration) -> list[Configuration]:
        """The configuration after each class of symbols, and last what is remembered of it where a token ends.

        Of many letters few go on with a phrase that is under way; the others all do what a letter of no phrase does.
        """
        plain = [self._step(now, symbol) for symbol in self._plain]
        following = [plain[place] for place in self._plain_of]
        for place in self._looked_at(now):
            following[place] = self._step(now, self._symbols[place])
        following.append(self._forget(now) if self._sure else now)
        return following

    def _looked_at(self, now: Configuration) -> set[int]:
        """The classes whose letters may go on with a phrase under way, or begin one."""
        if now.stage == len(self._stages):
            return set()
        going_on = {place for node in now.nodes for place in self._places(node)}
        roots = self._roots[now.stage : now.stage + 2]  # a phrase may end here, and the next stage begin
        beginning = {place for root in roots for place in self._places(root)}
        return going_on | {place for place in beginning if self._ends_word(now.last, self._symbols[place])}

    def _places(self, node: int) -> Iterator[int]:
        """The classes of the letters a node goes on with."""
        return (place for element in self._trie.nodes[node].children for place in self._asking[element])

    def _step(self, now: Configuration, symbol: Symbols) -> Configuration:
        """The configuration after one symbol."""
        if now.stage == len(self._stages):
            return now
        stage, nodes = now.stage, now.nodes
        if now.matched and not self._at_end and self._ends_word(now.last, symbol):
            stage, nodes = stage + 1, _NONE
            if stage == len(self._stages):
                return Configuration(stage)
        reached, inside = self._advance(nodes, self._roots[stage], now.last, symbol)
        last = self._last_kind(now.last, symbol) if inside is None else inside
        matched = any(self._trie.nodes[node].phrase_ends for node in reached)
        certain = self._sure or symbol.form == "whole" or inside is not None
        doubted = _NONE if certain else self._doubted(now.doubted & nodes, reached, symbol)
        reached |= doubted
        if matched and last == 0 and not self._at_end:  # no next character can continue the word
            stage, reached, matched, doubted = stage + 1, _NONE, False, _NONE
            if stage == len(self._stages):
                return Configuration(stage)
        fresh = opening = True
        if self._sure:
            fresh = (symbol.form == "whole" and symbol.space) or (now.fresh and last == 0)
            opening = now.opening and (fresh or bool(reached))
        closing = self._at_end and self._closes(now, symbol, matched)
        return Configuration(stage, reached, last, matched, closing, fresh, opening, doubted)

    def _ends_word(self, last: int, symbol: Symbols) -> bool:
        """Whether a word with a last character of that kind ends before the symbol."""
        apart = [not self._rule.joined(last, kind) for kind in symbol.kinds]
        return all(apart) if self._sure else any(apart)

    def _advance(
        self, nodes: frozenset[int], root: int, last: int, symbol: Symbols
    ) -> tuple[frozenset[int], int | None]:
        """Nodes reached by a symbol, and the kind of the character if its last half made it known."""
        if symbol.form == "continuation":
            return self._second_half(nodes, symbol)
        reached: set[int] = set()
        starts = self._ends_word(last, symbol)
        for number in (*nodes, root):
            node = self._trie.nodes[number]
            if symbol.form == "whole" or not self._sure:
                if number != root or starts:
                    reached.update(node.children[e] for e in symbol.elements if e in node.children)
                if symbol.space and node.gap is not None:
                    reached.add(node.gap)
                if symbol.space and node.is_gap:
                    reached.add(number)
            for half in node.unfinished.get(symbol.half, ()):
                inside = self._trie.nodes[half].inside
                if number != root or inside is None or not self._rule.joined(last, inside):
                    reached.add(half)
        return frozenset(reached), None

    def _second_half(self, nodes: frozenset[int], symbol: Symbols) -> tuple[frozenset[int], int | None]:
        reached: set[int] = set()
        kind: int | None = None
        for node in (self._trie.nodes[number] for number in nodes):
            following = node.continuation.get(symbol.half)
            if following is not None:
                reached.add(following)
                if self._trie.nodes[following].inside is None:
                    kind = node.inside
        return frozenset(reached), kind

    def _last_kind(self, before: int, symbol: Symbols) -> int:
        if symbol.form == "continuation":
            return before if self._sure else 0
        return max(symbol.kinds) if self._sure else min(symbol.kinds)

    def _doubted(self, before: frozenset[int], reached: frozenset[int], symbol: Symbols) -> frozenset[int]:
        """Nodes that hold if a character cut in two turns out to be the letter or space the trie allowed for."""
        if symbol.form == "continuation":
            return before
        return frozenset(node for node in reached if self._trie.nodes[node].inside is None)

    def _closes(self, now: Configuration, symbol: Symbols, matched: bool) -> bool:
        """Whether the text behind a phrase at its end still holds nothing but characters of no word."""
        if symbol.form == "unfinished" and matched:
            return True  # perhaps the phrase ended with this very character
        behind = now.closing or (now.matched and now.last != 0)
        return behind and self._ends_word(self._rule.highest, symbol)

    def _found(self, now: Configuration) -> bool:
        """Whether a text that ends here is found."""
        if now.stage == len(self._stages):
            return True
        return now.closing or (now.matched and now.stage == len(self._stages) - 1)

    def _forget(self, now: Configuration) -> Configuration:
        """What is remembered where a token ends: words under way only where the tokenizer itself would cut them (in the
        first word of a text, also capitalised), and the right to begin one only behind white space, with or without
        opening punctuation.
        """
        nodes = now.nodes & (self._opening_cuts if now.opening else self._cuts)
        last = now.last if now.fresh or now.matched else max(now.last, self._rule.highest)
        return now._replace(nodes=nodes, last=last, opening=now.opening and (now.fresh or bool(nodes)))

    def _cuts_of(self, befores: Sequence[str], *, capitals: bool) -> frozenset[int]:
        """Nodes under way where the tokenizer's own spelling of a phrase has a token end."""
        vocabulary = self._target.vocabulary
        cuts: set[int] = set()
        for stage, phrases in enumerate(self._stages):
            capital = [phrase[:1].upper() + phrase[1:] for phrase in phrases] if capitals else []
            texts = [before + phrase for phrase in dict.fromkeys((*phrases, *capital)) for before in befores]
            for ids in vocabulary.spell(texts):
                now = Configuration(stage)
                for token in ids or ():
                    for symbol in symbols_of(vocabulary.token_bytes[token] or b""):
                        now = self._step(now, self._symbols[self._class_of[symbol]])
                    if now.stage == stage:
                        cuts |= now.nodes
        return frozenset(cuts)


def _by_elements(symbols: Sequence[Symbols]) -> tuple[list[Symbols], list[int], dict[int, list[int]]]:
    """The distinct classes when letters of phrases are taken for letters of none, which of them each class then is,
    and the classes that each element is in."""
    number: dict[Symbols, int] = {}
    plain_of = [number.setdefault(symbol._replace(elements=_NONE), len(number)) for symbol in symbols]
    asking: dict[int, list[int]] = {}
    for place, symbol in enumerate(symbols):
        for element in symbol.elements:
            asking.setdefault(element, []).append(place)
    return list(number), plain_of, asking
