"""Sentences as tokens, and whether the scorers are installed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from ctrlg.files.outputs import require_packages

PACKAGES = ("pycocoevalcap", "rouge_score", "spacy")


def require_scorers(names: Sequence[str] = PACKAGES) -> None:
    """Check that the scorers are installed: to be called before long work.

    Args:
        names: packages of the extra `eval`.

    Raises:
        ArgumentError: one of them is not installed.
    """
    require_packages(names, "eval")


def tokenised(text: str) -> str:
    """The text's tokens, separated by single spaces, by the rule-based tokenizer of spaCy's English pipelines.

    Args:
        text: any.
    """
    return " ".join(token.text for token in _tokenizer()(text) if not token.is_space)


@cache
def _tokenizer() -> Any:
    import spacy

    return spacy.blank("en")
