"""IFEval's types of instructions as constraints, each at least as strict as IFEval's own checker.

Where the checker counts in a way of its own (words are runs of letters, sentences those of nltk), the constraint allows
only texts of which everyone counts the same. All texts are ASCII, so that no character is cut in two and no letter has
relatives in other scripts; characters of the instruction itself are allowed, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Any

from ctrlg.constraints import (
    CapitalWords,
    Case,
    Constraint,
    Contains,
    Exclude,
    Json,
    LetterCount,
    Regex,
    SentenceCount,
    StartsWith,
)
from ctrlg.errors import ConstraintError

Arguments = Mapping[str, Any]

_WORD, _OTHER = "[0-9A-Za-z_]", "[^0-9A-Za-z_]"
_ANY = r"(?s:.*)"
_STARS = r"(?:\*{1,2}[^*]|[^*])*"  # no three in a row, and none at the end
_SEPARATE_WORDS = ["cannot", "gonna", "gotta", "gimme", "lemme", "wanna", "'tis", "'twas", "d'ye", "more'n"]
_GROUPS = 4  # of first characters
_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def constraint_of(instructions: Sequence[tuple[str, Arguments]]) -> Constraint:
    """The constraint of all instructions of a prompt together.

    Args:
        instructions: types, such as "punctuation:no_comma", each with its arguments; None stands for a missing one.

    Raises:
        ConstraintError: a type, or a value of an argument, has no constraint.
    """
    given = [{name: value for name, value in arguments.items() if value is not None} for _, arguments in instructions]
    parts = [_one(kind, arguments) for (kind, _), arguments in zip(instructions, given, strict=True)]
    sentences = [part for part in parts if isinstance(part, SentenceCount)]
    if len(sentences) > 1:  # one range instead of several large automata
        most = [part.most for part in sentences if part.most is not None]
        whole = SentenceCount(max(part.least for part in sentences), min(most, default=None))
        parts = [whole, *(part for part in parts if not isinstance(part, SentenceCount))]
    return reduce(and_, parts, _plain(given))


def _one(kind: str, arguments: Arguments) -> Constraint:
    if kind not in CONSTRAINTS:
        raise ConstraintError(f"{kind} has no constraint", hint=f"one of {', '.join(CONSTRAINTS)}")
    return CONSTRAINTS[kind](**arguments)


def _plain(arguments: Sequence[Arguments]) -> Constraint:
    """ASCII, and the characters of the arguments."""
    own = {character for one in arguments for character in str(list(one.values())) if character > "~"}
    return Regex(rf"[\n -~{''.join(sorted(own))}]*")


def _at_least_or_less(relation: str, count: int, at_least: Callable[[int], Constraint]) -> Constraint:
    if relation not in ("at least", "less than"):
        raise ConstraintError(f"the relation {relation!r} is not known", hint="at least, or less than")
    return at_least(count) if relation == "at least" else ~at_least(count)


def _occurrences(pattern: str, least: int) -> Constraint:
    return Contains(rf"(?s:(?:{pattern}.*){{{least}}})")


def _words(relation: str, num_words: int) -> Constraint:
    if relation == "at least":
        return Regex(rf"{_OTHER}*(?:{_WORD}+{_OTHER}+){{{num_words - 1}}}{_WORD}{_ANY}")
    return Regex(rf"{_OTHER}*(?:{_WORD}+{_OTHER}+){{0,{num_words - 2}}}{_WORD}*")


def _sentences(relation: str, num_sentences: int) -> Constraint:
    return SentenceCount(num_sentences) if relation == "at least" else SentenceCount(1, num_sentences - 1)


def _highlights(num_highlights: int) -> Constraint:
    # As `re.findall(r"\*[^\n*]*\*")` goes along a text: what opens on a line and does not close there is passed over.
    passed = r"(?:[^*]|\*[^*\n]*\n|\*[^\S\n]*\*)*"
    return Regex(rf"(?:{passed}\*[^*\n]*[^\s*][^*\n]*\*){{{num_highlights}}}{_ANY}")


def _placeholders(num_placeholders: int) -> Constraint:
    passed = r"(?:[^\[]|\[[^\]\n]*\n)*"
    return Regex(rf"(?:{passed}\[[^\]\n]+\]){{{num_placeholders}}}{_ANY}")


def _bullets(num_bullets: int) -> Constraint:
    bullet = r"\* [^\s*][^\n]*\n"
    plain = r"[^\S\n]*(?:(?:[^\s*\-]|\*\*)[^\n]*)?"  # two stars begin no bullet
    other = rf"(?:{plain}\n)*"
    line_at_end = rf"(?:{plain}|\* [^\s*][^\n]*)"
    full = rf"{other}(?:{bullet}{other}){{{num_bullets}}}{plain}"
    at_end = rf"{other}(?:{bullet}{other}){{{num_bullets - 1}}}\* [^\s*][^\n]*"
    return Regex(f"{full}|{at_end}") & Regex(rf"(?:[^\n]*\n)*{line_at_end}")


def _paragraphs(num_paragraphs: int) -> Constraint:
    paragraph = rf"{_STARS}[^\s*]{_STARS}"
    return Regex(rf"{paragraph}(?:\n\*\*\*\n{paragraph}){{{num_paragraphs - 1}}}")


def _first_word(num_paragraphs: int, nth_paragraph: int, first_word: str) -> Constraint:
    rest = r"[^\n]*(?:\n[^\s][^\n]*)*"
    spelled = {first_word, first_word.lower(), first_word.upper(), first_word.capitalize()}
    paragraphs = [rf"[^\s]{rest}"] * num_paragraphs
    paragraphs[nth_paragraph - 1] = rf"\"?(?:{'|'.join(map(re.escape, sorted(spelled)))})(?:[ ,.?!]{rest})"
    return Regex(r"\n\n".join(paragraphs))


def _two_responses() -> Constraint:
    # They differ in their first characters, which are of different groups: one automaton a letter would be too many.
    one = r"(?:\*{1,5}[^*]|[^*])*"
    letters = [re.escape(chr(point)) for point in range(0x21, 0x7F) if chr(point) != "*"]
    groups = ["".join(letters[first::_GROUPS]) for first in range(_GROUPS)]
    return Regex("|".join(rf"[{group}]{one}\n\*{{6}}\n[^{group}\s*]{one}" for group in groups))


def _repeat(prompt_to_repeat: str) -> Constraint:
    prompt = prompt_to_repeat.strip()
    return StartsWith([prompt, prompt.lower(), prompt.upper()])


def _end(end_phrase: str) -> Constraint:
    phrase = end_phrase.strip()
    spelled = "|".join(map(re.escape, sorted({phrase, phrase.lower(), phrase.upper()})))
    return Regex(rf'{_ANY}(?:{spelled})"?')


def _letters(letter: str, let_frequency: int, let_relation: str) -> Constraint:
    if not letter.isalpha() or not letter.isascii():
        raise ConstraintError(f"the checker takes a letter at random instead of {letter!r}", hint="give a letter")
    return _at_least_or_less(let_relation, let_frequency, lambda count: LetterCount(letter, count))


def _capital_words(capital_relation: str, capital_frequency: int) -> Constraint:
    if capital_relation == "at least":
        return CapitalWords(capital_frequency)
    # The checker splits words at apostrophes and elsewhere, but a word of capitals holds a run of letters that are all
    # capitals: those are counted. What it splits inside of such a run is left out.
    mixed, signs = r"[A-Z]*[a-z][A-Za-z]*", r"[^A-Za-z]+"
    others = rf"(?:{mixed}{signs})*"
    fewer = rf"{others}(?:[A-Z]+{signs}{others}){{0,%d}}"
    counted = rf"(?:{signs})?(?:{fewer % (capital_frequency - 1)}(?:{mixed})?"
    counted += rf"|{fewer % (capital_frequency - 2)}[A-Z]+)" if capital_frequency > 1 else ")"
    return Regex(counted) & Exclude(_SEPARATE_WORDS) & ~Contains("[A-Z]n'")


def _json() -> Constraint:
    return Json({"type": "object", "minProperties": 1}, depth=2)


def _postscript(postscript_marker: str) -> Constraint:
    marker = r"[Pp]\.[Pp]\.[Ss]" if postscript_marker == "P.P.S" else r"[Pp]\.[Ss]\."
    return Contains(rf"\n{marker} [A-Za-z]")


CONSTRAINTS: dict[str, Callable[..., Constraint]] = {
    "keywords:existence": lambda keywords: reduce(and_, (Contains(f"(?i:{word})") for word in keywords)),
    "keywords:frequency": lambda relation, keyword, frequency: _at_least_or_less(
        relation, frequency, lambda count: _occurrences(f"(?i:{keyword})", count)
    ),
    "keywords:forbidden_words": lambda forbidden_words: (
        ~Contains("|".join(rf"\b(?i:{word})\b" for word in forbidden_words))
    ),
    "keywords:letter_frequency": _letters,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": lambda: Contains("|".join(map(re.escape, _OPTIONS))),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": lambda section_spliter, num_sections: _occurrences(
        rf"{section_spliter} [0-9]+\n", num_sections
    ),
    "detectable_format:json_format": _json,
    "detectable_format:title": lambda: Contains(r"<<[^\n<>]*[^\s<>][^\n<>]*>>"),
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat,
    "startend:end_checker": _end,
    "startend:quotation": lambda: Regex(rf'"{_ANY}"'),
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": lambda: Case("upper"),
    "change_case:english_lowercase": lambda: Case("lower"),
    "punctuation:no_comma": lambda: Regex("[^,]*"),
}
"""A constraint for each type, of the arguments that IFEval gives it.

Of the 25 types "language:response_language" has none: what a statistical detector of languages says of a text is not
regular. For the same reason the types "english_lowercase" and "english_capital" are kept as far as case goes.
"""
