"""Perplexity of a long text by a sliding window.

    perplexity = exp(-1/N sum_t log p(x_t | the tokens before it in the window))

Windows of `window` tokens begin every `stride` tokens; each predicts the tokens that no earlier window has predicted,
as in the Hugging Face guide. The first token of the text is not predicted. A long stride is cheap, a short one gives
every token the most context.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.arguments import LanguageModel, checked
from ctrlg.errors import ArgumentError, DataError
from normtweaking.tweaking.chain import logits_at


class Perplexity(NamedTuple):
    """Perplexity of a text.

    Attributes:
        perplexity: per token.
        nats: mean negative log-likelihood of a token.
        tokens: predicted.
    """

    perplexity: float
    nats: float
    tokens: int


class Window(NamedTuple):
    """Tokens start .. stop - 1 are read, first .. stop - 1 are predicted; first > start.

    Attributes:
        start: first token read.
        first: first token predicted.
        stop: behind the last token.
    """

    start: int
    first: int
    stop: int


def windows(length: int, window: int, stride: int) -> Iterator[Window]:
    """Windows over a text of `length` tokens, which together predict each but the first token once.

    Args:
        length: tokens of the text.
        window: tokens read at once.
        stride: tokens between windows.
    """
    first = 1
    for start in range(0, length, stride):
        stop = min(start + window, length)
        if first < stop:
            yield Window(start, max(first, start + 1), stop)
        first = stop
        if stop == length:
            return


@checked
@torch.no_grad()
def sliding_window_perplexity(
    model: LanguageModel,
    tokens: Tensor,
    window: int = 1024,
    stride: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> Perplexity:
    """Of a text under a causal language model of transformers.

    Args:
        model: a causal language model of transformers.
        tokens: int64 [N], N >= 2.
        window: tokens read at once, at least 2 and at most what the model can read.
        stride: 1 to window - 1, so that every token has one before it.
        progress: called with the tokens predicted, of all.

    Returns:
        Perplexity and mean negative log-likelihood, in nats.

    Raises:
        DataError: a text too short.
        ArgumentError: windows and strides out of range.
    """
    check_windows(model, tokens, window, stride)
    tokens = tokens.to(next(model.parameters()).device)
    total, count = 0.0, 0
    for start, first, stop in windows(len(tokens), window, stride):
        positions = torch.arange(first - start - 1, stop - start - 1, device=tokens.device)
        logits = logits_at(model, {"input_ids": tokens[None, start:stop]}, positions)[0].float()
        total += float(torch.nn.functional.cross_entropy(logits, tokens[first:stop], reduction="sum"))
        count += stop - first
        if progress is not None:
            progress(count, len(tokens) - 1)
    return Perplexity(math.exp(total / count), total / count, count)


def check_windows(model: Any, tokens: Tensor, window: int, stride: int) -> None:
    """Check the arguments of `sliding_window_perplexity`, at no cost.

    Args:
        model: a causal language model of transformers.
        tokens: int64 [N].
        window: tokens read at once.
        stride: tokens between windows.

    Raises:
        DataError: a text too short.
        ArgumentError: windows and strides out of range.
    """
    if tokens.dim() != 1 or len(tokens) < 2:
        raise DataError(f"a text of shape {tuple(tokens.shape)} has no perplexity", hint="give int64 [N], N >= 2")
    room = getattr(model.config, "max_position_embeddings", None) or window
    if not 2 <= window <= room:
        raise ArgumentError(f"window is {window}", hint=f"choose 2 to {room}, what the model can read")
    if not 1 <= stride < window:
        raise ArgumentError(f"stride is {stride}", hint=f"choose 1 to {window - 1}, below the window")
