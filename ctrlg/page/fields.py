"""The fields of the page: each builds a part of the constraint from what was typed into its controls.

The browser shows whatever `FIELDS` holds, so a new kind of constraint appears on the page when it is registered:

    register(Field("ending", "How it ends", (Control("text", "phrase", "The text ends with"),), build))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from ctrlg.constraints import Constraint, Exclude, Keywords, OneLine, OneSentence, Ordered, WordCount
from ctrlg.constraints.words import count_words
from ctrlg.errors import ArgumentError, ConstraintError

MOST_PHRASES = 40
LONGEST_PHRASE = 80  # characters
LONGEST_TEXT = 2_000  # characters
MOST_WORDS = 60
_TOKENS_A_WORD, _MORE_TOKENS = 2, 6


class Control(NamedTuple):
    """Something to type into or to tick.

    Attributes:
        kind: "chips" is a list of phrases, "check" yes or no, "number" a whole number or nothing, "text" a line.
        name: of its value.
        label: as the visitor reads it.
        hint: an example or an explanation, shown below.
        default: what is there at first.
        most: largest number.
    """

    kind: Literal["chips", "check", "number", "text"]
    name: str
    label: str
    hint: str = ""
    default: Any = None
    most: int = MOST_WORDS


class Around(NamedTuple):
    """The text that stands around what is to be written."""

    before: str
    after: str


class Built(NamedTuple):
    """What a field makes of its controls.

    Attributes:
        constraint: a part of the constraint, or none.
        note: what the visitor should know.
        most_tokens: most tokens that are to be written, where the field says something about it.
    """

    constraint: Constraint | None
    note: str = ""
    most_tokens: int | None = None


class Field(NamedTuple):
    """A part of the form, and of the constraint.

    Attributes:
        name: of its values, and of the place where its errors are shown.
        label: its heading.
        controls: in order.
        build: from the values of the controls, by name, and the text around. It may raise ArgumentError or
            ConstraintError, which are shown beside the field.
    """

    name: str
    label: str
    controls: tuple[Control, ...]
    build: Callable[[Mapping[str, Any], Around], Built]


FIELDS: dict[str, Field] = {}
"""The fields of the page, by name, in the order in which they are shown."""


def register(field: Field) -> None:
    """Show a field on the page, in the place of another of the same name."""
    FIELDS[field.name] = field


def checked_values(field: Field, values: Any) -> dict[str, Any]:
    """What came for a field, every control's value of its kind; defaults where nothing came. Raises ArgumentError."""
    given = values if isinstance(values, Mapping) else {}
    return {control.name: _CHECKS[control.kind](control, given.get(control.name)) for control in field.controls}


def plain_text(name: str, value: Any, longest: int, lines: bool = False) -> str:
    """A text without control characters. lines: it may have line breaks and tabs. Raises ArgumentError."""
    if not isinstance(value, str):
        raise ArgumentError(f"{name} is no text", hint="reload the page")
    if len(value) > longest:
        raise ArgumentError(f"{name} has {len(value):,} characters", hint=f"at most {longest:,} fit")
    for character in value:
        if (ord(character) < 32 and not (lines and character in "\n\t")) or character == "\x7f":
            raise ArgumentError(f"{name} holds the control character U+{ord(character):04X}", hint="delete it")
        if 0xD800 <= ord(character) <= 0xDFFF:
            raise ArgumentError(f"{name} holds half a character, U+{ord(character):04X}", hint="delete it")
    return value


def _chips(control: Control, value: Any) -> list[str]:
    phrases = [] if value is None else value
    if not isinstance(phrases, list):
        raise ArgumentError(f"{control.label}: no list", hint="reload the page")
    if len(phrases) > MOST_PHRASES:
        raise ArgumentError(f"{len(phrases):,} phrases are too many", hint=f"at most {MOST_PHRASES}")
    texts = [plain_text("a phrase", phrase, LONGEST_PHRASE).strip() for phrase in phrases]
    return list(dict.fromkeys(text for text in texts if text))


def _check(control: Control, value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise ArgumentError(f"{control.label}: neither yes nor no", hint="reload the page")
    return bool(control.default if value is None else value)


def _number(control: Control, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= control.most:
        raise ArgumentError(f"{control.label}: not a whole number from 0 to {control.most}", hint="change it")
    return value


def _text(control: Control, value: Any) -> str:
    return plain_text(control.label, value if value is not None else control.default or "", LONGEST_TEXT)


_CHECKS: dict[str, Callable[[Control, Any], Any]] = {
    "chips": _chips,
    "check": _check,
    "number": _number,
    "text": _text,
}


def _include(values: Mapping[str, Any], around: Around) -> Built:
    groups = [[form.strip() for form in phrase.split("|") if form.strip()] for phrase in values["phrases"]]
    if not all(groups):
        raise ConstraintError("a phrase without a word", hint="write alternatives as dog|puppy")
    if not groups:
        return Built(None)
    kind = Ordered if values["ordered"] else Keywords
    constraint = kind(groups, inflect=values["inflect"])
    there = [
        group[0]
        for group in groups
        if any(Keywords([group], inflect=values["inflect"]).kept_spans(text) for text in around)
    ]
    if there and not values["ordered"]:
        return Built(constraint, f"Already in your text, so not needed again: {', '.join(there)}.")
    return Built(constraint)


def _exclude(values: Mapping[str, Any], around: Around) -> Built:
    phrases = values["phrases"]
    if not phrases:
        return Built(None)
    for phrase in phrases:
        if not all(Exclude([phrase]).holds(text) for text in around):
            raise ConstraintError(f"\u201c{phrase}\u201d is in your own text", hint="take it out there, or here")
    return Built(Exclude(phrases))


def _length(values: Mapping[str, Any], around: Around) -> Built:
    least, most = values["least"] or 0, values["most"]
    if most is not None and most < least:
        raise ConstraintError(f"at least {least} and at most {most} words", hint="the first must not be larger")
    if most == 0:
        raise ConstraintError("at most 0 words", hint="leave room for a word")
    # The constraint is about the whole text; the visitor thinks of the words to come.
    there = sum(map(count_words, around))
    if most is None:
        return Built(WordCount(least + there) if least else None)
    return Built(WordCount(least + there, most + there), most_tokens=_TOKENS_A_WORD * most + _MORE_TOKENS)


def _style(values: Mapping[str, Any], around: Around) -> Built:
    text = f"{around.before}{around.after}"
    if not values["sentence"]:
        return Built(OneLine() if OneLine().holds(text) else None)
    if not OneLine().holds(text):
        return Built(None, "Your text has line breaks or gaps, so its form is left open.")
    # A last mark such as a comma may still be followed by a word, a beginning such as "." may not be preceded by one.
    whole = OneSentence().holds(f"{around.before.rstrip(' ,;:-')} x {around.after}".strip())
    if not whole:
        return Built(OneLine(), "Your text has several sentences already, so its punctuation is left open.")
    return Built(OneLine() & OneSentence())


register(
    Field(
        "include",
        "Words that must occur",
        (
            Control(
                "chips",
                "phrases",
                "Add a word that must occur",
                "Phrases, too; alternatives as dog|puppy. Your own text counts as well.",
            ),
            Control("check", "inflect", "Any inflection counts (dog, dogs)", default=True),
            Control("check", "ordered", "In this order"),
        ),
        _include,
    )
)
register(
    Field(
        "exclude",
        "Words that must not occur",
        (
            Control(
                "chips",
                "phrases",
                "Add a word that must not occur",
                "Phrases, too; upper or lower case, as whole words.",
            ),
        ),
        _exclude,
    )
)
register(
    Field(
        "length",
        "Words to add",
        (
            Control("number", "least", "At least", default=4),
            Control("number", "most", "At most", default=12),
        ),
        _length,
    )
)
register(Field("style", "Form", (Control("check", "sentence", "One sentence", default=True),), _style))
