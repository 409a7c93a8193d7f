"""Which tokens of a vocabulary belong to a language.

A token belongs to a script where its bytes are whole characters, at least one of them is a letter, and all its letters
are of that script (by their Unicode names, "CYRILLIC SMALL LETTER A"); a language is one script or a few. Tokens
without letters (digits, punctuation), with letters of several scripts, pieces of characters and special tokens belong
to none. English is letters of ASCII alone; languages of one script cannot be told apart otherwise.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ctrlg.errors import ArgumentError
from ctrlg.vocabulary import Vocabulary

ASCII = "ASCII"
SCRIPTS: dict[str, tuple[str, ...]] = {
    "en": (ASCII,),
    **dict.fromkeys(("fr", "de", "es", "it", "pt", "nl", "pl", "sv", "tr", "vi", "id"), (ASCII, "LATIN")),
    **dict.fromkeys(("ru", "uk", "bg", "sr"), ("CYRILLIC",)),
    "zh": ("CJK",),
    "ja": ("HIRAGANA", "KATAKANA", "CJK"),
    "ko": ("HANGUL",),
    "ar": ("ARABIC",),
    "fa": ("ARABIC",),
    "el": ("GREEK",),
    "he": ("HEBREW",),
    "hi": ("DEVANAGARI",),
    "th": ("THAI",),
}


def language_tokens(vocabulary: Vocabulary, languages: Sequence[str]) -> list[int]:
    """Ids of all tokens that belong to one of the languages, ascending; all content tokens where none is named.

    Args:
        vocabulary: of the model.
        languages: names, as in `SCRIPTS`.

    Raises:
        ArgumentError: languages that are not in `SCRIPTS`, or of which the vocabulary has no token.
    """
    if not languages:
        return [token for token, data in enumerate(vocabulary.token_bytes) if data]
    check_languages(languages)
    script_sets = [script_set(data) for data in vocabulary.token_bytes]
    chosen: set[int] = set()
    for language in languages:
        scripts = set(SCRIPTS[language])
        found = {token for token, present in enumerate(script_sets) if present and present <= scripts}
        if not found:
            raise ArgumentError(f"no token of the vocabulary is of the language {language!r}", hint="leave it out")
        chosen |= found
    return sorted(chosen)


def language_names(listed: str) -> tuple[str, ...]:
    """The names in a list such as "en,zh"; none of an empty one.

    Args:
        listed: names with commas between them.

    Raises:
        ArgumentError: as `check_languages`.
    """
    names = tuple(name.strip() for name in listed.split(",") if name.strip())
    check_languages(names)
    return names


def check_languages(languages: Sequence[str]) -> None:
    """Check names of languages.

    Args:
        languages: as in `SCRIPTS`.

    Raises:
        ArgumentError: one is not known.
    """
    for language in languages:
        if language not in SCRIPTS:
            raise ArgumentError(f"the language {language!r} is unknown", hint=f"some of: {', '.join(sorted(SCRIPTS))}")


def script_set(data: bytes | None) -> frozenset[str]:
    """Scripts of a token's letters; none where it has no letters or its bytes are not whole characters.

    Args:
        data: bytes of a token; None for a special one.
    """
    try:
        letters = [character for character in (data or b"").decode("utf-8") if character.isalpha()]
    except UnicodeDecodeError:
        return frozenset()
    return frozenset(ASCII if letter.isascii() else unicodedata.name(letter, "").split(" ")[0] for letter in letters)
