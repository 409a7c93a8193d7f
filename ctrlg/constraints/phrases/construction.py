"""The subset construction that both readings of phrases share.

A configuration is the set of trie nodes that may be under way, the kind of the last character, and whether a phrase has
just ended that the next character could still continue; the construction numbers the configurations it meets. Where a
token cuts a character in two, the automaton is in doubt until the other half comes: what it takes for granted then is
left to `sure` and `possible`.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from ctrlg.automata.dfa import DFA
from ctrlg.automata.exploration import explore_one_by_one
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.constraints.base import Target
from ctrlg.constraints.phrases.tries import Symbols, Trie
from ctrlg.constraints.words import JoiningRule, spellings

NONE: frozenset[int] = frozenset()


class Configuration(Protocol):
    """What every configuration knows.

    stage: how many stages are complete. nodes: trie nodes under way in this stage. last: kind of the last character.
    matched: a phrase ended with the last character, whole so far. closing (only at the end of texts): after such a
    phrase nothing but non-word characters have come.
    """

    @property
    def stage(self) -> int: ...
    @property
    def nodes(self) -> frozenset[int]: ...
    @property
    def last(self) -> int: ...
    @property
    def matched(self) -> bool: ...
    @property
    def closing(self) -> bool: ...


class Reached(NamedTuple):
    """A `Configuration` as far as both readings agree about it.

    inside: the kind of the character whose last half made it known, else None.
    """

    stage: int
    nodes: frozenset[int]
    last: int
    matched: bool
    closing: bool
    inside: int | None


C = TypeVar("C", bound=Configuration)


class Construction(abc.ABC, Generic[C]):
    """The subset construction of one search.

    stages: phrases of each stage, one of which is enough. rule: where words end. at_end: there is one stage and its
    phrase ends the text; after a last letter or digit, non-word characters may follow. name: of errors.
    """

    def __init__(
        self, stages: Sequence[Sequence[str]], rule: JoiningRule, at_end: bool, target: Target, name: str
    ) -> None:
        self._target, self._name = target, name
        self._at_end = at_end
        self._rule = rule
        self._stages = [spellings(stage) for stage in stages]
        self._trie = Trie(rule, target.max_states, name)
        self._roots = [self._trie.plant(stage) for stage in self._stages]
        self._symbols, self._class_of = self._trie.classify(target.vocabulary.symbols.unfinished.tolist())
        self._plain, self._plain_of, self._asking = _by_elements(self._symbols)

    def contents(self) -> DFA:
        """The automaton, not minimized. BudgetError as soon as more than target.max_states states are met."""
        # Over symbols first, then lifted to tokens. What is remembered at a token's end is one more column of the
        # table, so that configurations which only it leads to are explored as well.
        order, table = explore_one_by_one(self._begin(0), self._follow, self._target.max_states, self._name)
        accepting = np.array([self._accepts(configuration) for configuration in order])
        # The last column says what is remembered of a configuration where a token ends.
        text = TextDFA(self._class_of, table[:, :-1], 0, accepting, table[:, -1])
        target = self._target
        return lift(text, target.vocabulary, prefix=target.prefix, suffix=target.suffix, name=self._name)

    @abc.abstractmethod
    def _begin(self, stage: int) -> C:
        """The configuration at the start of a stage, or when all are complete."""

    @abc.abstractmethod
    def _accepts(self, now: C) -> bool:
        """Whether contents of a text that ends here are accepted."""

    @abc.abstractmethod
    def _at_token_end(self, now: C) -> C:
        """What is remembered where a token ends."""

    @abc.abstractmethod
    def _ends_word(self, last: int, symbol: Symbols) -> bool:
        """Whether a word with a last character of that kind ends before the symbol."""

    @abc.abstractmethod
    def _goes_on_with_letters(self, symbol: Symbols) -> bool:
        """Whether the symbol counts as the letters that it may be."""

    @abc.abstractmethod
    def _last_kind(self, before: int, symbol: Symbols) -> int:
        """The kind of the last character after a symbol that does not make it known."""

    @abc.abstractmethod
    def _configuration(self, now: C, symbol: Symbols, reached: Reached, nodes: frozenset[int]) -> C:
        """The configuration after a symbol. nodes: those that were under way in the stage before it."""

    def _follow(self, now: C) -> list[C]:
        """The configuration after each class of symbols, and last what is remembered of it where a token ends.

        Of many letters few go on with a phrase that is under way; the others all do what a letter of no phrase does.
        """
        # A step for each of a few plain classes instead of one for every letter of every phrase.
        plain = [self._step(now, symbol) for symbol in self._plain]
        following = [plain[place] for place in self._plain_of]
        for place in self._looked_at(now):
            following[place] = self._step(now, self._symbols[place])
        following.append(self._at_token_end(now))
        return following

    def _looked_at(self, now: C) -> set[int]:
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

    def _step(self, now: C, symbol: Symbols) -> C:
        """The configuration after one symbol."""
        if now.stage == len(self._stages):
            return now
        # A phrase that has ended waits for the next symbol: if the word goes on, it does not count. If it counts, this
        # symbol already belongs to the next stage, where nothing is under way.
        stage, nodes = now.stage, now.nodes
        if now.matched and not self._at_end and self._ends_word(now.last, symbol):
            stage, nodes = stage + 1, NONE
            if stage == len(self._stages):
                return self._begin(stage)
        reached, inside = self._advance(nodes, self._roots[stage], now.last, symbol)
        # A letter that was cut in two is known by its last half; of other halves the reading decides what to take for
        # granted.
        last = self._last_kind(now.last, symbol) if inside is None else inside
        matched = any(self._trie.nodes[node].phrase_ends for node in reached)
        if matched and last == 0 and not self._at_end:  # no next character can continue the word
            stage, reached, nodes, matched = stage + 1, NONE, NONE, False
            if stage == len(self._stages):
                return self._begin(stage)
        closing = self._at_end and self._closes(now, symbol, matched)
        return self._configuration(now, symbol, Reached(stage, reached, last, matched, closing, inside), nodes)

    def _advance(
        self, nodes: frozenset[int], root: int, last: int, symbol: Symbols
    ) -> tuple[frozenset[int], int | None]:
        """Nodes reached by a symbol, and the kind of the character if its last half made it known."""
        if symbol.form == "continuation":
            return self._second_half(nodes, symbol)
        reached: set[int] = set()
        starts = self._ends_word(last, symbol)
        # The root is always among them, as in Aho and Corasick's machine: a phrase may begin wherever a word may. A gap
        # takes in further white space and stays.
        for number in (*nodes, root):
            node = self._trie.nodes[number]
            if self._goes_on_with_letters(symbol):
                if number != root or starts:
                    reached.update(node.children[e] for e in symbol.elements if e in node.children)
                if symbol.space and node.gap is not None:
                    reached.add(node.gap)
                if symbol.space and node.is_gap:
                    reached.add(number)
            for half in node.unfinished.get(symbol.half, ()):
                # The first half of a phrase's first letter: the kind that the letter will have says whether a word may
                # begin.
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
                # Between characters again: this was the last byte, and the character is the phrase's own.
                if self._trie.nodes[following].inside is None:
                    # All nodes that come to their end here follow the same bytes, so they agree about the kind.
                    kind = node.inside
        return frozenset(reached), kind

    def _closes(self, now: C, symbol: Symbols, matched: bool) -> bool:
        """Whether the text behind a phrase at its end still holds nothing but non-word characters."""
        if symbol.form == "unfinished" and matched:
            return True  # perhaps the phrase ended with this very character
        behind = now.closing or (now.matched and now.last != 0)
        return behind and self._ends_word(self._rule.highest, symbol)

    def _found(self, now: C) -> bool:
        """Whether a text that ends here is found."""
        if now.stage == len(self._stages):
            return True
        return now.closing or (now.matched and now.stage == len(self._stages) - 1)


def _by_elements(symbols: Sequence[Symbols]) -> tuple[list[Symbols], list[int], dict[int, list[int]]]:
    """The distinct classes when letters of phrases are taken for letters of none, which of them each class then is,
    and the classes that each element is in."""
    number: dict[Symbols, int] = {}
    plain_of = [number.setdefault(symbol._replace(elements=NONE), len(number)) for symbol in symbols]
    asking: dict[int, list[int]] = {}
    for place, symbol in enumerate(symbols):
        for element in symbol.elements:
            asking.setdefault(element, []).append(place)
    return list(number), plain_of, asking
