"""Which words stand where in a text: at a place counted from either end, or a number of words apart."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

from ctrlg.arguments import Positive, checked, refused
from ctrlg.automata.dfa import DFA
from ctrlg.constraints.base import Constraint, Target, combine, named, within_budget
from ctrlg.constraints.exclusion import Exclude
from ctrlg.constraints.keywords import Keywords
from ctrlg.constraints.places.pieces import Pieces, any_of, in_order
from ctrlg.constraints.word_count import WordCount
from ctrlg.constraints.words import STRICT, as_phrases, distinct, occurrences
from ctrlg.errors import ConstraintError
from ctrlg.parts import NFA
from ctrlg.parts.factored import Clause


class _Placed(Constraint):
    """What is a nondeterministic automaton first of all, and as one automaton may need exponentially many states."""

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint. BudgetError where one automaton needs more than target.max_states states."""
        whole = self._contents(target, kept)
        if whole is None:
            return combine((), target, kept=True, every=False)
        return within_budget(whole.determinized(target.max_states), self, target)

    def clauses(self, target: Target, kept: bool = True) -> list[Clause]:
        """See Constraint."""
        whole = self._contents(target, kept)
        return super().clauses(target, kept) if whole is None else [(whole,)]

    @abc.abstractmethod
    def _contents(self, target: Target, kept: bool) -> NFA | None:
        """The contents that keep the constraint, or break it; None where there are none."""


@checked
@dataclass(frozen=True)
class At(_Placed):
    """A word of the text is one of some words: the position-th, negative from the end. `At(-1, ["home"])`.

    Words are those of WordCount, runs without white space; one with "dog" in it as a whole word counts ("dog's",
    "hot-dog,"). A place that the prefix or the suffix decides is not looked for in the content.

    Args:
        position: 1 for the first word, -1 for the last.
        phrases: single words, a list or one.

    Raises:
        ArgumentError: position 0.
        ConstraintError: a phrase that is no single word, or there is none.
    """

    position: int
    phrases: Sequence[str] | str

    def __post_init__(self) -> None:
        if self.position == 0 or isinstance(self.position, bool):
            raise refused("position", self.position, "1 for the first word, -1 for the last")
        object.__setattr__(self, "phrases", _words(self.phrases, "At"))

    def holds(self, text: str) -> bool:
        """See Constraint."""
        words = _runs(text)
        place = self.position - 1 if self.position > 0 else len(words) + self.position
        return 0 <= place < len(words) and _has(words[place], self.phrases)

    def _contents(self, target: Target, kept: bool) -> NFA | None:
        pieces = Pieces(target)
        sure = Keywords([as_phrases(self.phrases)])
        word, more = WordCount(1, 1), abs(self.position) - 1
        it = word & (sure if kept else Exclude(self.phrases))
        found: list[DFA | NFA] = []
        if self.position > 0:
            begins = [[pieces.begin(WordCount(more, more)), pieces.inside(it)]]
            if pieces.nothing_before and len(_runs(target.prefix)) == more:
                begins.append([pieces.first(it)])
            for begin in begins:
                found.append(in_order(*begin, pieces.rest()))
                if pieces.nothing_behind:
                    found.append(in_order(*begin))
        elif pieces.nothing_behind:
            behind = more - pieces.words_behind
            if behind > 0:
                tail = pieces.last(WordCount(more, more))
                found.append(in_order(pieces.anything(), pieces.inside(it), tail))
                if pieces.nothing_before:
                    found.append(in_order(pieces.first(it), tail))
            if behind == 0:
                found.append(in_order(pieces.anything(), pieces.inside(it)))
                if pieces.nothing_before:
                    found.append(pieces.first(it))
        if not kept:
            found.append(WordCount(0, more).automaton(target))
        return any_of(found)

    def __str__(self) -> str:
        where = f"word {self.position}" if self.position > 0 else f"word {-self.position} from the end"
        return f"{where} is {' or '.join(map(repr, self.phrases))}"


@checked
@dataclass(frozen=True)
class Apart(_Placed):
    """A word occurs again a number of words later: `Apart(["dog", "cat"], words=3)`.

    Words are those of `At`. It cannot be negated.

    Args:
        phrases: single words, a list or one; one of them has to occur again.
        words: how much later; 1 for the next word.

    Raises:
        ConstraintError: a phrase that is no single word, or there is none.
    """

    phrases: Sequence[str] | str
    words: Positive

    def __post_init__(self) -> None:
        object.__setattr__(self, "phrases", _words(self.phrases, "Apart"))

    def holds(self, text: str) -> bool:
        """See Constraint."""
        runs = _runs(text)
        pairs = zip(runs, runs[self.words :], strict=False)
        return any(_has(one, [phrase]) and _has(other, [phrase]) for one, other in pairs for phrase in self.phrases)

    def _contents(self, target: Target, kept: bool) -> NFA | None:
        if not kept:
            raise ConstraintError(
                f"not ({named(self)}) has no automaton", hint="exclude the words, or ask for Count(..., most=1)"
            )
        pieces = Pieces(target)
        anything, rest = pieces.anything(), pieces.rest()
        between = [pieces.inside(WordCount(self.words - 1, self.words - 1))] if self.words > 1 else []
        found: list[DFA | NFA] = []
        for phrase in as_phrases(self.phrases):
            it = WordCount(1, 1) & Keywords([phrase])
            inside = pieces.inside(it)
            begins = [[anything, inside]] + ([[pieces.first(it)]] if pieces.nothing_before else [])
            for begin in begins:
                found.append(in_order(*begin, *between, inside, rest))
                if pieces.nothing_behind:
                    found.append(in_order(*begin, *between, inside))
        return any_of(found)

    def __str__(self) -> str:
        return f"{'/'.join(self.phrases)} again {self.words} words later"


def _runs(text: str) -> list[str]:
    """The words of a text, as WordCount counts them."""
    return [run for run in text.split() if any(map(STRICT.kind_of, run))]


def _has(run: str, phrases: Sequence[str] | str) -> bool:
    return any(occurrences(run, as_phrases(phrases), STRICT))


def _words(phrases: Sequence[str] | str, name: str) -> tuple[str, ...]:
    words = distinct(as_phrases(phrases))
    if not words or any(len(phrase.split()) > 1 for phrase in words):
        raise ConstraintError(f"{name} is about single words, not {phrases!r}", hint=f"as {name} of ['dog', 'cat']")
    for word in words:
        if not any(map(STRICT.kind_of, word)):
            # Beside a word it would count in a run of its own, which is no word.
            raise ConstraintError(f"{word!r} in {name} has no letter or digit", hint="words have at least one")
    return words
