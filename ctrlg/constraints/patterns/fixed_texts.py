"""Texts that are fixed, as a whole or at their beginning."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass

from ctrlg.arguments import checked, several
from ctrlg.constraints.patterns.regular import RegularConstraint
from ctrlg.errors import ConstraintError
from ctrlg.regular import ANYTHING, Expression, OneOf, Sequence, literal


@checked
@dataclass(frozen=True)
class Choice(RegularConstraint):
    """The whole text, prefix and suffix included, is one of some texts.

    Args:
        texts: the texts, to the letter.

    Raises:
        ConstraintError: there is none.
    """

    texts: Several[str]

    def __post_init__(self) -> None:
        if not self.texts:
            raise ConstraintError("Choice without texts", hint="name at least one, as Choice(['yes', 'no'])")
        object.__setattr__(self, "texts", tuple(dict.fromkeys(self.texts)))

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return text in self.texts

    def expression(self) -> Expression:
        """See RegularConstraint."""
        return one_of_texts(self.texts)

    def __str__(self) -> str:
        return f"is {' or '.join(map(repr, self.texts))}"


@checked
@dataclass(frozen=True)
class StartsWith(RegularConstraint):
    """The text, prefix included, begins with one of some texts, to the letter.

    Args:
        texts: a list, or a single text. For words whose case does not matter, see `Regex`.

    Raises:
        ConstraintError: there is none.
    """

    texts: Several[str] | str

    def __post_init__(self) -> None:
        texts = (self.texts,) if isinstance(self.texts, str) else tuple(several("texts", self.texts))
        if not texts:
            raise ConstraintError("StartsWith without texts", hint="name at least one, as StartsWith('Dear ')")
        object.__setattr__(self, "texts", tuple(dict.fromkeys(texts)))

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return text.startswith(tuple(self.texts))

    def expression(self) -> Expression:
        """See RegularConstraint."""
        return Sequence((one_of_texts(tuple(self.texts)), ANYTHING))

    def __str__(self) -> str:
        return f"begins with {' or '.join(map(repr, self.texts))}"


def one_of_texts(texts: Several[str]) -> Expression:
    """One of some texts. What they have in common at their beginnings is written once, so that thousands have room."""
    first: dict[str, list[str]] = {}
    for text in texts:
        first.setdefault(text[:1], []).append(text)
    if len(texts) == 1 or not first:
        return OneOf(tuple(map(literal, texts)))
    parts: list[Expression] = []
    for beginning, alike in first.items():
        if not beginning or len(alike) == 1:
            parts.append(literal(alike[0]))
            continue
        length = _common(alike)
        rest = one_of_texts([text[length:] for text in alike])
        parts.append(Sequence((literal(alike[0][:length]), rest)))
    return OneOf(tuple(parts))


def _common(texts: Several[str]) -> int:
    """How many characters some different texts have in common at their beginnings."""
    least, most = min(texts), max(texts)
    return next((place for place, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), len(least))
