"""A language model small enough to sample thousands of sentences from in a test."""

from __future__ import annotations

from typing import Any

from helpers import tiny_models

EOS = 0
VOCABULARY = 12


def tiny_language_model(seed: int = 0) -> Any:
    return tiny_models.tiny_language_model(VOCABULARY, seed, EOS, layers=2, initializer_range=0.5)
