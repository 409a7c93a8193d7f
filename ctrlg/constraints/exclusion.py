"""What must not occur in a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctrlg.arguments import checked
from ctrlg.automata.dfa import DFA
from ctrlg.constraints.base import Constraint, Target, combine
from ctrlg.constraints.keywords import Ordered
from ctrlg.constraints.words import ANYWHERE, LENIENT, as_phrases, distinct, occurrences


@checked
@dataclass(frozen=True)
class Exclude(Constraint):
    """None of some phrases occurs in the text, however it is cut into tokens.

    Case does not matter, and any white space may stand between the words of a phrase. Words that begin in the prefix or
    end in the suffix are banned as well.

    Args:
        phrases: a list, or a single phrase.
        whole_word: "art" does not ban "party". Doubt goes against the model: "dog2", "_dog_" and "dog's" contain "dog".

    Raises:
        ConstraintError: a phrase is empty.
    """

    phrases: Sequence[str] | str
    whole_word: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "phrases", distinct(as_phrases(self.phrases)))

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return not any(occurrences(text, as_phrases(self.phrases), LENIENT if self.whole_word else ANYWHERE))

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        if not self.phrases:
            return combine((), target, kept=kept, every=kept)
        return Ordered([as_phrases(self.phrases)], whole_word=self.whole_word).automaton(target, not kept)

    def __str__(self) -> str:
        return f"never {', '.join(map(repr, self.phrases))}"
