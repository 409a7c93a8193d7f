"""What must occur in a text: words and phrases, in any order or in a given one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ctrlg.arguments import checked
from ctrlg.automata.dfa import DFA
from ctrlg.constraints.base import Constraint, Target, clauses_of, combine, named, within_budget
from ctrlg.constraints.forms import forms_of
from ctrlg.constraints.phrases.search import PhraseSearch
from ctrlg.constraints.words import (
    ANYWHERE,
    LENIENT,
    STRICT,
    JoiningRule,
    as_phrases,
    distinct,
    first_of_each,
    meaning,
    occurrences,
)
from ctrlg.errors import ConstraintError
from ctrlg.parts.factored import Clause

Span = tuple[int, int]


@dataclass(frozen=True)
class _Phrases(Constraint):
    """Groups of phrases that occur in the text; which ways of occurring count, the classes below say."""

    groups: Sequence[Sequence[str] | str]
    inflect: bool = False
    whole_word: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(map(distinct, _groups(self.groups))))

    @cached_property
    def forms(self) -> tuple[tuple[str, ...], ...]:
        """For each group all phrases that count."""
        groups = _groups(self.groups)
        return forms_of(groups) if self.inflect else groups


@checked
@dataclass(frozen=True)
class Keywords(_Phrases):
    """Of each group, at least one phrase occurs in the text.

    Case does not matter. The automaton counts phrases behind white space (and opening punctuation) or at the start of
    the content, cut into tokens as the tokenizer itself would cut them; a rarer spelling merely does not count.

    Args:
        groups: each a list of alternatives, or a single phrase: `Keywords([["dog", "puppy"], "park"])`. A group that is
            given twice counts once.
        inflect: the inflections of every phrase count too; no phrase counts as an inflection of one in another group.
        whole_word: "art" is not kept by "party"; see `ctrlg.constraints.words` for what ends a word.

    Raises:
        ConstraintError: a group or a phrase is empty.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        groups = first_of_each(_groups(self.groups), lambda group: frozenset(map(meaning, group)))
        object.__setattr__(self, "groups", groups)

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return all(any(occurrences(text, forms, _rule(self.whole_word, sure=True))) for forms in self.forms)

    @checked
    def kept_spans(self, text: str) -> list[Span]:
        """Every phrase that counts, from left to right, the longer one where two overlap.

        Args:
            text: the whole text.

        Returns:
            Start and end of each, in characters.
        """
        found = (span for forms in self.forms for span in occurrences(text, forms, _rule(self.whole_word, sure=True)))
        spans: list[Span] = []
        for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
            if not spans or start >= spans[-1][1]:
                spans.append((start, end))
        return spans

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        return combine(self.pieces(), target, kept=kept, every=kept)

    def clauses(self, target: Target, kept: bool = True) -> list[Clause]:
        """See Constraint."""
        return clauses_of(self.pieces(), target, kept=kept, every=kept)

    def pieces(self) -> list[Constraint]:
        """See Constraint."""
        return [Ordered([forms], whole_word=self.whole_word) for forms in self.forms]

    def __str__(self) -> str:
        return f"contains {' + '.join(map('/'.join, _groups(self.groups)))}{' (inflected)' * self.inflect}"


@checked
@dataclass(frozen=True)
class Ordered(_Phrases):
    """A phrase of the first group occurs, behind it one of the second, and so on.

    `Ordered(["first", ["then", "next"]])`. What counts is as for Keywords.

    Args:
        groups: in order; each a list of alternatives, or a single phrase.
        inflect: the inflections of every phrase count too; no phrase counts as an inflection of one in another group.
        whole_word: "art" is not kept by "party"; see `ctrlg.constraints.words` for what ends a word.

    Raises:
        ConstraintError: a group or a phrase is empty.
    """

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return len(self.kept_spans(text)) == len(self.forms)

    @checked
    def kept_spans(self, text: str) -> list[Span]:
        """The first phrases that keep the constraint, as many groups as are kept.

        Args:
            text: the whole text.

        Returns:
            Start and end of each, in characters.
        """
        spans: list[Span] = []
        position = 0
        for forms in self.forms:
            found = occurrences(text, forms, _rule(self.whole_word, sure=True))
            behind = [(end, start) for start, end in found if start >= position]
            if not behind:
                break
            position, start = min(behind)
            spans.append((start, position))
        return spans

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        search = PhraseSearch(self.forms, _rule(self.whole_word, sure=kept), "sure" if kept else "possible")
        return within_budget(search.contents(target, named(self)), self, target)

    def __str__(self) -> str:
        return f"contains {', then '.join(map('/'.join, _groups(self.groups)))}{' (inflected)' * self.inflect}"


def _rule(whole_word: bool, *, sure: bool) -> JoiningRule:
    if not whole_word:
        return ANYWHERE
    return STRICT if sure else LENIENT


def _groups(groups: Iterable[Iterable[str] | str]) -> tuple[tuple[str, ...], ...]:
    if isinstance(groups, str):
        raise ConstraintError(f"{groups!r} is one phrase, not a list of groups", hint=f"write [{groups!r}]")
    tuples = tuple(as_phrases(group) for group in groups)
    if not all(tuples):
        raise ConstraintError("a group without phrases cannot be kept", hint="leave it out")
    return tuples
