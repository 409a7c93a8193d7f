"""How a text is divided: lines and paragraphs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from ctrlg.arguments import Natural, Positive, checked
from ctrlg.automata.algebra import MAX_STATES
from ctrlg.constraints.base import Constraint, count_levels, named
from ctrlg.constraints.patterns.languages import texts_of
from ctrlg.constraints.patterns.ranges import in_words, is_within, require_range
from ctrlg.constraints.patterns.regular import RegularConstraint
from ctrlg.regular import (
    Characters,
    CharacterSet,
    Expression,
    Language,
    OneOf,
    Repeat,
    Sequence,
    Within,
    language_of,
    literal,
    parsed,
)
from ctrlg.regular.language import combined

_LINE = Repeat(Characters(~CharacterSet.of("\n")))


@checked
@dataclass(frozen=True)
class Lines(RegularConstraint):
    """The whole text, prefix and suffix included, has least to most lines, each of which keeps a constraint.

    Lines are what stands between line breaks ("\\n"); a text without any is one line, and behind a line break at the
    end of a text there is an empty one.

    Args:
        constraint: of each line by itself; None allows any line.
        least: >= 1.
        most: >= least; None sets no upper limit.

    Raises:
        ArgumentError: unless 1 <= least <= most.
        ConstraintError: a line by itself cannot keep the constraint.
    """

    follows_halves: ClassVar[bool] = False

    constraint: Constraint | None = None
    least: Positive = 1
    most: Positive | None = None

    def __post_init__(self) -> None:
        require_range(self.least, self.most, "lines")
        if self.constraint is not None:
            count_levels(self, [self.constraint])

    def holds(self, text: str) -> bool:
        """See Constraint."""
        lines = text.split("\n")
        kept = self.constraint is None or all(map(self.constraint.holds, lines))
        return kept and is_within(len(lines), self.least, self.most)

    def language(self, max_states: int = MAX_STATES) -> Language:
        """See RegularConstraint."""
        return language_of(self.expression(max_states), max_states, named(self))

    def expression(self, max_states: int = MAX_STATES) -> Expression:
        """See RegularConstraint."""
        line: Expression = _LINE
        if self.constraint is not None:
            allowed = [texts_of(self.constraint, max_states), language_of(_LINE)]
            line = Within(combined(allowed, "intersection", max_states))
        further = Sequence((literal("\n"), line))
        return Sequence((line, Repeat(further, self.least - 1, None if self.most is None else self.most - 1)))

    def __str__(self) -> str:
        count = in_words(self.least, self.most, "line", "lines")
        return count if self.constraint is None else f"{count}, each: {self.constraint}"


@checked
@dataclass(frozen=True)
class ParagraphCount(RegularConstraint):
    """The whole text, prefix and suffix included, has least to most paragraphs.

    Paragraphs are separated by lines that are empty or hold white space alone.

    Args:
        least: >= 0.
        most: >= least; None sets no upper limit.

    Raises:
        ArgumentError: unless 0 <= least <= most.
    """

    follows_halves: ClassVar[bool] = False

    least: Natural
    most: Natural | None = None

    def __post_init__(self) -> None:
        require_range(self.least, self.most, "paragraphs")

    def holds(self, text: str) -> bool:
        """See Constraint."""
        paragraphs = re.split(r"\n[^\S\n]*(?=\n)", f"\n{text}\n")
        return is_within(sum(map(bool, map(str.strip, paragraphs))), self.least, self.most)

    def expression(self) -> Expression:
        """See RegularConstraint."""
        blank, line = parsed(r"[^\S\n]*"), parsed(r"[^\S\n]*\S[^\n]*")
        break_ = literal("\n")
        paragraph = Sequence((line, Repeat(Sequence((break_, line)))))
        before, behind = Repeat(Sequence((blank, break_))), Repeat(Sequence((break_, blank)))
        further = Sequence((Repeat(Sequence((break_, blank)), 1), break_, paragraph))
        texts: list[Expression] = []
        if self.most != 0:
            rest = Repeat(further, max(0, self.least - 1), None if self.most is None else self.most - 1)
            texts.append(Sequence((before, paragraph, rest, behind)))
        if self.least == 0:
            texts.append(Sequence((blank, behind)))
        return OneOf(tuple(texts))

    def __str__(self) -> str:
        return in_words(self.least, self.most, "paragraph", "paragraphs")
