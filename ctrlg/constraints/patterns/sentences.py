"""How many sentences a text has, where every way of counting agrees."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from ctrlg.arguments import Positive, checked
from ctrlg.constraints.patterns.ranges import in_words, require_range
from ctrlg.constraints.patterns.regular import RegularConstraint
from ctrlg.regular import Expression, OneOf, Repeat, Sequence, Within, language_of, literal, parsed
from ctrlg.regular.language import combined

_ABBREVIATIONS = """
    adm ala ariz aug ave bros calif chg cie co col colo conn corp cos ct dec dr feb fla fri ft ga gen ill inc
    jan jr kan ky lt ltd maj messrs mg mich minn mr mrs ms nev nov oct ok okla ore pa prof rep reps sen sep sept
    sr st sw tenn tues va vs vt wash wed wis yr etc eg ie al fig figs no nos pp vol ed eds est dept univ approx
    mt sgt capt cmdr hon rev
"""
"""Words behind which a full stop may not end the sentence: those nltk's splitter for English knows, and a few more."""

_START, _CLOSING = r"[^\s.!?)\]}]", r"""["')\]]?"""
_INNER = r"(?:[^.!?]|\.(?=\d))"
_SPACE = r"[ \t\n]"
_LETTERS = r"[^\W\d_]{2,}"
_SPLIT_WORD = "|".join(_ABBREVIATIONS.split())


@checked
@dataclass(frozen=True)
class SentenceCount(RegularConstraint):
    """The whole text, prefix and suffix included, consists of least to most whole sentences.

    A sentence ends with a word or a number and ".", "!" or "?", behind which one closing mark may stand; spaces, tabs
    and line breaks separate sentences. So that everyone counts the same, nltk's statistical splitter among them, what
    is in doubt is not allowed: a full stop behind an abbreviation, a number or a single letter, dots inside of a
    sentence other than those of numbers ("3.5"), "...", "?!".

    Args:
        least: >= 1.
        most: >= least; None sets no upper limit.

    Raises:
        ArgumentError: unless 1 <= least <= most.
    """

    follows_halves: ClassVar[bool] = False

    least: Positive
    most: Positive | None = None

    def __post_init__(self) -> None:
        require_range(self.least, self.most, "sentences")

    def holds(self, text: str) -> bool:
        """See Constraint."""
        last_word = rf"(?<!\w)(?!(?i:{_SPLIT_WORD})\.){_LETTERS}\."
        sentence = rf"(?={_START}){_INNER}*?(?:{last_word}|(?<=\w)[!?]){_CLOSING}"
        rest = f"{{{self.least - 1},{'' if self.most is None else self.most - 1}}}"
        return re.fullmatch(f"{_SPACE}*{sentence}(?:{_SPACE}+{sentence}){rest}{_SPACE}*", text) is not None

    def expression(self) -> Expression:
        """See RegularConstraint."""
        words = [language_of(parsed(_LETTERS)), ~language_of(parsed(f"(?i:{_SPLIT_WORD})"))]
        last_word = Within(combined(words, "intersection"))
        # Before the last word, something that is not a word character: the sentence itself, or nothing.
        inner = r"(?:[^.!?]|\.\d)*"
        before_word = parsed(rf"(?:[^\w\s.!?)\]}}]|{_START}{inner}[^\w.!?])?")
        stop = Sequence((before_word, last_word, literal(".")))
        mark = parsed(rf"(?:\w|{_START}{inner}(?:\w|\.\d))[!?]")
        sentence = Sequence((OneOf((stop, mark)), parsed(_CLOSING)))
        further = Sequence((parsed(f"{_SPACE}+"), sentence))
        rest = Repeat(further, self.least - 1, None if self.most is None else self.most - 1)
        return Sequence((parsed(f"{_SPACE}*"), sentence, rest, parsed(f"{_SPACE}*")))

    def __str__(self) -> str:
        return in_words(self.least, self.most, "sentence", "sentences")
