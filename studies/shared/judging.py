"""How likely a language model, often not the one that wrote them, finds sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ctrlg.adaptation.sentences import end_of_text_id
from ctrlg.generation import score_generated_ids


def log_probabilities(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[float]:
    """Nats per token of each text after end-of-text, the end-of-text behind it included."""
    end = [end_of_text_id(tokenizer)]
    contents = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    return [scored.log_prob for scored in score_generated_ids(model, contents, end, end)]
