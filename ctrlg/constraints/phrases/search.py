"""Automata over text that look for phrases, read as sure (for what must occur) or as possible (for what must not)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ctrlg.automata.dfa import DFA
from ctrlg.constraints.base import Target
from ctrlg.constraints.phrases.possible import PossibleConstruction
from ctrlg.constraints.phrases.sure import SureConstruction
from ctrlg.constraints.words import JoiningRule

Reading = Literal["sure", "possible"]


@dataclass(frozen=True)
class PhraseSearch:
    """Finds texts in which a phrase of the first stage occurs, then, behind it, one of the second, and so on.

    Args:
        stages: phrases of each stage, one of which is enough.
        rule: where words end.
        reading: "sure" or "possible", see the module.
        at_end: there is one stage and its phrase ends the text; after a last letter or digit, non-word characters may
            follow.
    """

    stages: tuple[tuple[str, ...], ...]
    rule: JoiningRule
    reading: Reading
    at_end: bool = False

    def contents(self, target: Target, name: str) -> DFA:
        """Contents with which the finished text is found; read as possible, the contents that are *not* found.

        Read as sure, what is found is in the text; read as possible, everything that is in the text is found, and more.
        The result is not minimized.

        Args:
            target: tokens, prefix, suffix and the largest automaton allowed.
            name: what an error calls the automaton.

        Raises:
            BudgetError: more than target.max_states states are met on the way.
        """
        construction = SureConstruction if self.reading == "sure" else PossibleConstruction
        return construction(self.stages, self.rule, self.at_end, target, name).contents()
