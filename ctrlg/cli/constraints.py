"""The constraint that the options of `ctrlg generate` describe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.errors import ArgumentError

ANY = "any"
"""How many sentences a text may have, where it does not matter."""


class WholeText(NamedTuple):
    """Options that say what the whole text is, from its first character to its last.

    regex: a pattern. choice: texts, one of which it is. json_schema: a file with the schema that it fits. infill: a
    text with gaps. gap_words: number of words in each gap, as 8..12.
    """

    regex: str | None = None
    choice: tuple[str, ...] = ()
    json_schema: Path | None = None
    infill: str | None = None
    gap_words: str | None = None

    def parts(self) -> list[Any]:
        """The constraints. Raises ArgumentError and ConstraintError where an option is wrong."""
        from ctrlg.constraints import Choice, Infill, Json, Regex, WordCount
        from ctrlg.files.reading import read_text

        if self.gap_words is not None and self.infill is None:
            raise ArgumentError("--gap-words without --infill", hint="--infill 'Once upon a time [gap].'")
        parts: list[Any] = []
        if self.regex is not None:
            parts.append(Regex(self.regex))
        if self.choice:
            parts.append(Choice(list(self.choice)))
        if self.json_schema is not None:
            parts.append(Json(read_text(self.json_schema)))
        if self.infill is not None:
            words = None if self.gap_words is None else WordCount(*number_range(self.gap_words, "--gap-words"))
            parts.append(Infill(self.infill, words))
        return parts


def constraint_of(
    keywords: Sequence[str],
    ordered: bool,
    inflect: bool,
    exclude: Sequence[str],
    words: str | None,
    sentences: str | None = None,
    lower: bool = False,
    whole: WholeText | None = None,
    count: Sequence[str] = (),
) -> Any:
    """The constraint the options describe. Raises ArgumentError where they describe none, or badly."""
    from ctrlg.constraints import Case, Exclude, Keywords, Ordered, SentenceCount, WordCount

    parts: list[Any] = []
    if keywords:
        groups = [[form.strip() for form in group.split("|") if form.strip()] for group in keywords]
        parts.append(Ordered(groups, inflect=inflect) if ordered else Keywords(groups, inflect=inflect))
    if exclude:
        parts.append(Exclude(list(exclude)))
    parts += [counted(each, inflect) for each in count]
    if words is not None:
        parts.append(WordCount(*number_range(words, "--words")))
    if sentences not in (None, ANY):
        parts.append(SentenceCount(*number_range(str(sentences), "--sentences")))
    if lower:
        parts.append(Case("lower"))
    parts += whole.parts() if whole else []
    if not parts:
        options = "--keywords, --exclude, --count, --words, --sentences, --regex, --choice, --json-schema, --infill"
        raise ArgumentError("no constraint was given", hint=f"name at least one of {options}")
    constraint = parts[0]
    for part in parts[1:]:
        constraint = constraint & part
    return constraint


def counted(text: str, inflect: bool) -> Any:
    """What "dog|puppy:2..3" asks for. Raises ArgumentError for text of another form."""
    from ctrlg.constraints import Count

    phrases, colon, times = text.rpartition(":")
    if not colon:
        raise ArgumentError(f"--count {text!r} has no number", hint="write it as dog:2..3, dog:2 or dog:2..")
    forms = [form.strip() for form in phrases.split("|") if form.strip()]
    if times.endswith(".."):
        return Count(forms, number_range(times.removesuffix(".."), "--count")[0], None, inflect)
    return Count(forms, *number_range(times, "--count"), inflect)


def number_range(text: str, option: str) -> tuple[int, int]:
    """ "8..12" as (8, 12) and "10" as (10, 10). Raises ArgumentError, which names the option."""
    least, _, most = text.partition("..")
    try:
        return int(least), int(most or least)
    except ValueError as error:
        raise ArgumentError(f"{option} {text!r} is no range", hint="write it as 8..12 or 10") from error
