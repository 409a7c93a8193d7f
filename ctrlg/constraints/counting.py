"""How often phrases occur in a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrlg.arguments import Natural, checked
from ctrlg.automata.dfa import DFA
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.constraints.base import AllOf, Constraint, Not, Target, within_budget
from ctrlg.constraints.forms import forms_of
from ctrlg.constraints.keywords import Ordered
from ctrlg.constraints.words import STRICT, as_phrases, distinct, occurrences, over_symbols, spellings, variants
from ctrlg.errors import ArgumentError, ConstraintError
from ctrlg.parts.factored import Clause
from ctrlg.vocabulary.characters import CHARACTERS, SYMBOLS


@checked
@dataclass(frozen=True)
class Count(Constraint):
    """Some phrases occur least to most times in the text, taken together; `Count(["dog", "cat"], 2, 3)`.

    What counts is as for Keywords, from left to right and without overlaps; what might count, in doubt, is not allowed
    beyond the most.

    Args:
        phrases: a list, or a single phrase.
        least: fewest times, >= 0.
        most: most times, >= least; None sets no upper limit.
        inflect: inflections of the phrases count, too.

    Raises:
        ArgumentError: unless 0 <= least <= most.
        ConstraintError: a phrase is empty, or there is none.
    """

    phrases: Sequence[str] | str
    least: Natural = 0
    most: Natural | None = None
    inflect: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "phrases", _some(self.phrases, "Count"))
        if self.most is not None and self.most < self.least:
            raise ArgumentError(
                f"{self.least} to {self.most} is no range of times", hint="0 <= least <= most, or most=None"
            )

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return self._whole().holds(text)

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        return self._whole().automaton(target, kept)

    def clauses(self, target: Target, kept: bool = True) -> list[Clause]:
        """See Constraint."""
        return self._whole().clauses(target, kept)

    def _whole(self) -> Constraint:
        phrases = as_phrases(self.phrases)
        forms = forms_of([phrases])[0] if self.inflect else phrases
        parts: list[Constraint] = [Ordered([forms] * self.least)] if self.least else []
        if self.most is not None:
            parts.append(Not(Ordered([forms] * (self.most + 1))))
        return AllOf(tuple(parts))

    def __str__(self) -> str:
        name = f"{'/'.join(self.phrases)}{' (inflected)' * self.inflect}"
        if self.most is None:
            return f"{name} at least {self.least} times"
        return f"{name} {self.least} times" if self.least == self.most else f"{name} {self.least} to {self.most} times"


@checked
@dataclass(frozen=True)
class CountParity(Constraint):
    """Some words occur an even number of times in the text, or an odd number; no time at all is even.

    Whole words count whatever stands beside them; characters cut in two between tokens are refused.

    Args:
        phrases: words, a list or a single one; letters, digits and what joins them only.
        even: an even number, or an odd one.

    Raises:
        ConstraintError: a phrase that is no single word, or there is none.
    """

    phrases: Sequence[str] | str
    even: bool = True

    def __post_init__(self) -> None:
        words = _some(self.phrases, "CountParity")
        for word in words:
            if not all(map(STRICT.kind_of, word)):
                raise ConstraintError(
                    f"CountParity counts single words, and {word!r} has more than letters and digits",
                    hint="write it without spaces, hyphens and apostrophes",
                )
        object.__setattr__(self, "phrases", words)

    def holds(self, text: str) -> bool:
        """See Constraint."""
        found = len(list(occurrences(text, as_phrases(self.phrases), STRICT)))
        return (found % 2 == 0) == self.even

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        text = _parity(spellings(as_phrases(self.phrases)), self.even == kept)
        return within_budget(lift(text, target.vocabulary, prefix=target.prefix, suffix=target.suffix), self, target)

    def __str__(self) -> str:
        return f"{'/'.join(self.phrases)} an {'even' if self.even else 'odd'} number of times"


def _some(phrases: Sequence[str] | str, name: str) -> tuple[str, ...]:
    some = distinct(as_phrases(phrases))
    if not some:
        raise ConstraintError(f"{name} without phrases", hint=f"name at least one, as {name}('dog')")
    return some


def _parity(words: Sequence[str], even: bool) -> TextDFA:
    """Reads words through a trie; the second half of the states has an odd number behind it, the last one is dead."""
    children: list[dict[int, int]] = [{}]
    ends = [False]
    class_of, elements = _letters(words)
    for word in words:
        node = 0
        for character in word:
            element = elements[character]
            if element not in children[node]:
                children[node][element] = len(children)
                children.append({})
                ends.append(False)
            node = children[node][element]
        ends[node] = True
    # States of one half: between words, in a word of no trie, and in the trie's nodes but its root.
    between, other, half = 0, len(children), len(children) + 1
    dead = 2 * half
    delta = np.full((dead + 1, len(elements) + 3), dead, dtype=np.int32)
    for state in range(half):
        found = state != other and ends[state]
        for odd in (0, 1):
            row = odd * half
            delta[row + state, _SEPARATOR] = (odd ^ found) * half + between
            delta[row + state, _JOINING] = row + other
            for element in set(elements.values()):
                following = children[state].get(element, other) if state != other else other
                delta[row + state, element] = row + following
    last_found = np.array([*ends, False])  # a text may end inside a word
    odd = np.repeat([False, True], half) ^ np.tile(last_found, 2)
    accepting = np.append(odd != even, False)
    return TextDFA(class_of, delta, between, accepting)


_SEPARATOR, _JOINING, _HALF = range(3)  # classes of characters; those of letters follow


def _letters(words: Sequence[str]) -> tuple[NDArray[np.integer], dict[str, int]]:
    """The class of every symbol, and the class of every letter of the words and of what case makes of it."""
    elements: dict[str, int] = {}
    for character in dict.fromkeys("".join(words)):
        if character not in elements:
            number = 3 + len(set(elements.values()))
            elements |= dict.fromkeys(sorted(variants(character)), number)
    class_of = np.where(over_symbols(STRICT.kinds[:CHARACTERS]), _JOINING, _SEPARATOR).astype(np.int32)
    class_of[CHARACTERS:SYMBOLS] = _HALF
    for character, number in elements.items():
        class_of[ord(character)] = number
    return class_of, elements
