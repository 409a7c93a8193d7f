"""How a text ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctrlg.arguments import checked
from ctrlg.automata.dfa import DFA
from ctrlg.constraints.base import Constraint, Target, named, within_budget
from ctrlg.constraints.phrases.search import PhraseSearch
from ctrlg.constraints.words import STRICT, as_phrases, distinct, occurrences
from ctrlg.errors import ConstraintError


@checked
@dataclass(frozen=True)
class EndsWith(Constraint):
    """The text ends with one of some phrases, as whole words.

    Case does not matter. Behind a phrase that ends in a letter or digit, punctuation and white space may follow: "the
    park" ends 'They left the park."'. A phrase that ends otherwise must end the text exactly.

    Args:
        phrases: a list, or a single phrase.

    Raises:
        ConstraintError: a phrase is empty, or there is none.
    """

    phrases: Sequence[str] | str

    def __post_init__(self) -> None:
        phrases = as_phrases(self.phrases)
        if not phrases:
            raise ConstraintError("EndsWith without phrases", hint="name at least one phrase, as EndsWith('the park')")
        object.__setattr__(self, "phrases", distinct(phrases))

    def holds(self, text: str) -> bool:
        """See Constraint."""
        for _, end in occurrences(text, as_phrases(self.phrases), STRICT):
            if end == len(text):
                return True
            if STRICT.kind_of(text[end - 1]) and not any(map(STRICT.kind_of, text[end:])):
                return True
        return False

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        stages = (as_phrases(self.phrases),)
        search = PhraseSearch(stages, STRICT, "sure" if kept else "possible", at_end=True)
        return within_budget(search.contents(target, named(self)), self, target)

    def __str__(self) -> str:
        return f"ends with {' or '.join(map(repr, self.phrases))}"
