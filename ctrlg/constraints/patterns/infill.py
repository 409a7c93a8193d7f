"""Fixed text with gaps, each of which keeps a constraint of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import ClassVar

from ctrlg.arguments import checked
from ctrlg.automata.algebra import MAX_STATES
from ctrlg.constraints.base import Constraint, count_levels, named
from ctrlg.constraints.patterns.languages import texts_of
from ctrlg.constraints.patterns.regular import RegularConstraint
from ctrlg.errors import ConstraintError
from ctrlg.regular import Expression, Language, Sequence, Within, language_of, literal, parsed
from ctrlg.regular.language import combined

_GAP = r"(?s:\S(?:.*\S)?)"


@checked
@dataclass(frozen=True)
class Infill(RegularConstraint):
    """The whole text, prefix and suffix included, is a given one whose gaps have been filled.

    `Infill("Once upon a time [gap] until [gap].", gaps=WordCount(2, 8))`. A gap's constraint is about what fills it,
    and about nothing else. A gap is not left empty, and what fills it neither begins nor ends with white space.

    Args:
        text: the text, with a mark at every gap.
        gaps: one constraint for every gap, in order; or one for all; None allows anything.
        mark: what stands in the text where a gap is.

    Raises:
        ConstraintError: the text has no gap, or there are more or fewer constraints than gaps. When it is compiled: a
            gap's constraint is of a kind that only whole texts can keep.
    """

    follows_halves: ClassVar[bool] = False

    text: str
    gaps: Several[Constraint | None] | Constraint | None = None
    mark: str = "[gap]"

    def __post_init__(self) -> None:
        count = self.text.count(self.mark) if self.mark else 0
        if not count:
            raise ConstraintError(
                f"{self.text!r} has no gap", hint=f"write {self.mark or '[gap]'} where something is to be filled in"
            )
        given = self.gaps
        gaps = (given,) * count if given is None or isinstance(given, Constraint) else tuple(given)
        if len(gaps) != count:
            raise ConstraintError(
                f"{len(gaps)} constraints for {count} gaps", hint="give one for each gap, or a single one for all"
            )
        object.__setattr__(self, "gaps", gaps)
        count_levels(self, [gap for gap in gaps if gap is not None])

    def holds(self, text: str) -> bool:
        """See Constraint."""
        first, *others = self.text.split(self.mark)
        # Where a gap may begin: behind every way to fill the ones before it.
        starts = {len(first)} if text.startswith(first) else set()
        for place, (gap, fixed) in enumerate(zip(self._gaps(), others, strict=True)):
            last = place == len(others) - 1
            starts = {
                end + len(fixed)
                for start in starts
                for end in range(start, len(text) + 1)
                if text.startswith(fixed, end)
                and (not last or end + len(fixed) == len(text))
                and _fills(text[start:end], gap)
            }
        return bool(starts)

    def language(self, max_states: int = MAX_STATES) -> Language:
        """See RegularConstraint."""
        return language_of(self.expression(max_states), max_states, named(self))

    def expression(self, max_states: int = MAX_STATES) -> Expression:
        """See RegularConstraint."""
        first, *others = self.text.split(self.mark)
        parts = [literal(first)]
        languages: dict[Constraint | None, Language] = {}
        for gap, fixed in zip(self._gaps(), others, strict=True):
            if gap not in languages:
                filled = language_of(parsed(_GAP))
                allowed = [filled] if gap is None else [filled, texts_of(gap, max_states)]
                languages[gap] = combined(allowed, "intersection", max_states)
            parts += [Within(languages[gap]), literal(fixed)]
        return Sequence(tuple(parts))

    def _gaps(self) -> tuple[Constraint | None, ...]:
        gaps = self.gaps
        return (gaps,) if gaps is None or isinstance(gaps, Constraint) else tuple(gaps)

    def __str__(self) -> str:
        gaps = self._gaps()
        described = ["anything" if gap is None else str(gap) for gap in gaps]
        filled = described[0] if len(set(described)) == 1 else "; ".join(described)
        return f"reads {self.text!r}, {self.mark} being {filled}"


def _fills(text: str, gap: Constraint | None) -> bool:
    return re.fullmatch(_GAP, text) is not None and (gap is None or gap.holds(text))
