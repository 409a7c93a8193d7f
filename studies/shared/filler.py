"""Filler, by rule: what a search writes to fill up its tokens, in captions and in answers.

Captions are one sentence of a few words, so two dots together, or a second sentence, are filler. Answers have several
sentences and may break off with "..."; there only other marks count, two of them together or four in a row.
"""

from __future__ import annotations

import re

TWICE = r"\b(\w+)\s+\1\b"  # a word twice in a row
IN_CAPTIONS = (TWICE, r"[^\w\s'\"()]\s*[^\w\s'\"()]", r"[.!?]\s*[^\W\d]")
IN_ANSWERS = (TWICE, r"[^\w\s'\"().]\s*[^\w\s'\"()]", r"([^\w\s.]\s*){4}")


def has_filler(text: str, rules: tuple[str, ...]) -> bool:
    """Whether one of the rules finds something; rules: IN_CAPTIONS or IN_ANSWERS."""
    return any(re.search(rule, text, re.IGNORECASE) for rule in rules)
