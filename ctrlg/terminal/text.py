"""Text that is not ours, made harmless to print: control characters are shown, not sent."""

from __future__ import annotations

import unicodedata
from typing import Any

_KEPT = "\n\t"
_TURNING = frozenset(map(chr, (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))
"""Characters that turn the direction of writing, so that a text can look like another one."""
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, lone surrogates, line and paragraph separators


def visible(text: str) -> str:
    """A text whose control characters are written as Python writes them ("\\x1b"); line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(ascii(mark)[1:-1] if _is_unseen(mark) else mark for mark in text)


def visible_token(tokenizer: Any, token: int) -> str:
    """A token's text on one line, its spaces, line breaks and control characters to be seen: "·dog"."""
    return visible(tokenizer.decode([token]).replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥"))


def _is_unseen(mark: str) -> bool:
    return mark not in _KEPT and (mark in _TURNING or unicodedata.category(mark) in _UNSEEN)
