"""Texts that match a regular expression, or contain what does."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ctrlg.arguments import checked
from ctrlg.constraints.patterns.regular import RegularConstraint
from ctrlg.regular import ANYTHING, Expression, Sequence, parsed


@checked
@dataclass(frozen=True)
class Regex(RegularConstraint):
    """The whole text, prefix and suffix included, matches a pattern, as by `re.fullmatch`.

    The syntax is Python's, as far as it is regular: characters and sets of them, `\\d`, `\\w`, `\\s`, `.`, quantifiers,
    groups, alternatives, the anchors `^`, `$`, `\\A`, `\\Z`, `\\b` and `\\B`, and the flags `(?aimsx)`. All of it is
    about Unicode, as in `re`.

    Args:
        pattern: the regular expression.

    Raises:
        ConstraintError: Python cannot read the pattern, or it has look-around, back-references, conditional or atomic
            groups or possessive quantifiers, which are not regular.
    """

    pattern: str

    def __post_init__(self) -> None:
        parsed(self.pattern)

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return re.fullmatch(self.pattern, text) is not None

    def expression(self) -> Expression:
        """See RegularConstraint."""
        return parsed(self.pattern)

    def __str__(self) -> str:
        return f"matches {self.pattern!r}"


@checked
@dataclass(frozen=True)
class Contains(RegularConstraint):
    """Somewhere in the text, prefix and suffix included, a pattern matches, as by `re.search`.

    Args:
        pattern: the regular expression, in the syntax of `Regex`. For words, `Keywords` is usually better: it knows
            where a word begins and ends, ignores case, and has a smaller automaton.

    Raises:
        ConstraintError: as Regex.
    """

    pattern: str

    def __post_init__(self) -> None:
        parsed(self.pattern)

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return re.search(self.pattern, text) is not None

    def expression(self) -> Expression:
        """See RegularConstraint."""
        return Sequence((ANYTHING, parsed(self.pattern), ANYTHING))

    def __str__(self) -> str:
        return f"contains a match of {self.pattern!r}"
