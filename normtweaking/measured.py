"""Texts whose perplexity is measured, named by their files and checked before any work."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from ctrlg.arguments import Positive, TwoOrMore, checked
from ctrlg.errors import ArgumentError
from normtweaking.perplexity import check_windows, sliding_window_perplexity
from normtweaking.texts.calibration import read_tokens

LONGEST_WINDOW = 1024  # tokens, where no window is asked for


@checked
@dataclass(frozen=True)
class Measured:
    """What to measure perplexity on.

    Attributes:
        text: file to measure perplexity on; none where empty.
        tokens: of it, from its beginning; all where None.
        window: in tokens; where None 1024, or what the model can read.
        stride: in tokens; half the window where None.
    """

    text: str = ""
    tokens: TwoOrMore | None = None
    window: TwoOrMore | None = None
    stride: Positive | None = None

    def __post_init__(self) -> None:
        window = self.window or LONGEST_WINDOW
        if self.stride is not None and self.stride >= window:
            raise ArgumentError(f"stride is {self.stride}", hint=f"below the window of {window}")


class MeasuredText:
    """A text read for one model and those made of it.

    Args:
        measured: which text, and how.
        model: a causal language model of transformers.
        tokenizer: of the model.

    Raises:
        DataError: the file cannot be read.
        ArgumentError: a window that the model cannot read.
    """

    def __init__(self, measured: Measured, model: Any, tokenizer: Any) -> None:
        room = getattr(model.config, "max_position_embeddings", None) or LONGEST_WINDOW
        self._window = min(LONGEST_WINDOW, room) if measured.window is None else measured.window
        self._stride = max(1, self._window // 2) if measured.stride is None else measured.stride
        self._tokens = read_tokens(tokenizer, measured.text)[: measured.tokens]
        check_windows(model, self._tokens, self._window, self._stride)

    def perplexity(self, model: Any) -> float:
        """Perplexity per token of the text under a model.

        Args:
            model: a causal language model of transformers.
        """
        return sliding_window_perplexity(model, self._tokens, self._window, self._stride).perplexity

    def identity(self) -> tuple[str, int, int]:
        """Tells it from other texts and ways to measure: digest of the tokens, window, stride."""
        return hashlib.sha256(self._tokens.cpu().numpy().tobytes()).hexdigest(), self._window, self._stride
