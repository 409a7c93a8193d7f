"""How many characters, letters of a kind and words in capitals a text has, and its case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ctrlg.arguments import Natural, checked
from ctrlg.constraints.patterns.ranges import in_words, is_within, require_range
from ctrlg.constraints.patterns.regular import RegularConstraint
from ctrlg.errors import ArgumentError
from ctrlg.regular import Characters, CharacterSet, Expression, OneOf, Repeat, Sequence, Within, language_of
from ctrlg.regular.character_sets import EVERY, cased, lower_case, spaces, upper_case
from ctrlg.regular.language import combined


@checked
@dataclass(frozen=True)
class CharacterCount(RegularConstraint):
    """The whole text, prefix and suffix included, has least to most characters (Unicode code points).

    Args:
        least: >= 0.
        most: >= least; None sets no upper limit.

    Raises:
        ArgumentError: unless 0 <= least <= most.
    """

    least: Natural
    most: Natural | None = None

    def __post_init__(self) -> None:
        require_range(self.least, self.most, "characters")

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return is_within(len(text), self.least, self.most)

    def expression(self) -> Expression:
        """See RegularConstraint."""
        return Repeat(Characters(EVERY), self.least, self.most)

    def __str__(self) -> str:
        return in_words(self.least, self.most, "character", "characters")


@checked
@dataclass(frozen=True)
class LetterCount(RegularConstraint):
    """A letter occurs least to most times in the whole text, prefix and suffix included, in either case.

    Args:
        letter: one character; a sign or a digit counts as well.
        least: >= 0.
        most: >= least; None sets no upper limit.

    Raises:
        ArgumentError: not one character, or unless 0 <= least <= most.
    """

    follows_halves: ClassVar[bool] = False

    letter: str
    least: Natural
    most: Natural | None = None

    def __post_init__(self) -> None:
        if len(self.letter) != 1:
            raise ArgumentError(f"letter is {self.letter!r}", hint="one character, as 'e'")
        require_range(self.least, self.most, "letters")

    def holds(self, text: str) -> bool:
        """See Constraint."""
        alike = self.letter.lower()
        return is_within(sum(character.lower() == alike for character in text), self.least, self.most)

    def expression(self) -> Expression:
        """See RegularConstraint."""
        alike = self.letter.lower()
        letters = CharacterSet.of(self.letter)
        for first, end in zip(cased().bounds[::2], cased().bounds[1::2], strict=True):
            letters |= CharacterSet.of(chr(point) for point in range(first, end) if chr(point).lower() == alike)
        others = Repeat(Characters(~letters))
        return Sequence((others, Repeat(Sequence((Characters(letters), others)), self.least, self.most)))

    def __str__(self) -> str:
        return f"the letter {self.letter!r} {in_words(self.least, self.most, 'time', 'times')}"


@checked
@dataclass(frozen=True)
class Case(RegularConstraint):
    """All letters of the whole text, prefix and suffix included, are of one case, and there is one: `str.islower`.

    Characters without case (digits, signs, Chinese) may stand anywhere.

    Args:
        case: "lower" or "upper".
    """

    follows_halves: ClassVar[bool] = False

    case: Literal["lower", "upper"]

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return text.islower() if self.case == "lower" else text.isupper()

    def expression(self) -> Expression:
        """See RegularConstraint."""
        letters = lower_case() if self.case == "lower" else upper_case()
        allowed = Repeat(Characters(~cased() | letters))
        return Sequence((allowed, Characters(letters), allowed))

    def __str__(self) -> str:
        return f"in {self.case} case"


@checked
@dataclass(frozen=True)
class CapitalWords(RegularConstraint):
    """The whole text, prefix and suffix included, has least to most words in capitals.

    Words are separated by white space. A word is in capitals if it has a letter and all of its letters are upper case:
    "I", "OK," and "A-1" are, "NASA's" is not.

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
        require_range(self.least, self.most, "words")

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return is_within(sum(map(str.isupper, text.split())), self.least, self.most)

    def expression(self) -> Expression:
        """See RegularConstraint."""
        allowed = Repeat(Characters((~cased() | upper_case()) - spaces()))
        capital = Sequence((allowed, Characters(upper_case()), allowed))
        run = language_of(Repeat(Characters(~spaces())))
        # Any other run without white space, perhaps an empty one.
        other = Within(combined([run, ~language_of(capital)], "intersection"))
        space = Characters(spaces())
        before = Repeat(Sequence((other, space)))
        counted = Sequence((capital, space, before))
        texts = [Sequence((before, Repeat(counted, self.least, self.most), other))]
        if self.most != 0:
            fewer = Repeat(counted, max(0, self.least - 1), None if self.most is None else self.most - 1)
            texts.append(Sequence((before, fewer, capital)))
        return OneOf(tuple(texts))

    def __str__(self) -> str:
        return f"{in_words(self.least, self.most, 'word', 'words')} in capitals"
