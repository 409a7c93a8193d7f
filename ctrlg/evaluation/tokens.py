"""Sentences as tokens, and whether the scorers are installed."""

from __future__ import annotations

from functools import cache
from typing import Any

from ctrlg.outputs import require_packages

PACKAGES = ("pycocoevalcap", "rouge_score", "spacy")


def require_scorers() -> None:
    """Raises ArgumentError where the extra `eval` is not installed: to be called before long work."""
    require_packages(PACKAGES, "eval")


def tokenised(text: str) -> str:
    """The text's tokens, separated by single spaces, by the rule-based tokenizer of spaCy's English pipelines."""
    return " ".join(token.text for token in _tokenizer()(text) if not token.is_space)


@cache
def _tokenizer() -> Any:
    import spacy

    return spacy.blank("en")
