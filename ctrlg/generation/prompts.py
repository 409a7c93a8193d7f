"""Prompts in the forms users have them: text, token ids, tensors, and what tokenizers and chat templates return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ctrlg.arguments import several, text, whole
from ctrlg.errors import ArgumentError

Prompt = str | Sequence[int] | Any
"""Text; token ids as a sequence, an array or a tensor, [T] or [1, T]; or a BatchEncoding of one text."""

_HINT = "pass text, token ids, or what tokenizer(...) or tokenizer.apply_chat_template(...) returns for one text"


def prompt_ids(prompt: Prompt, tokenizer: Any) -> list[int]:
    """The token ids of one prompt. ArgumentError for what is none, VocabularyError never."""
    if isinstance(prompt, str):
        return [int(token) for token in tokenizer.encode(text("prompt", prompt))]
    rows = _rows(prompt)
    if len(rows) != 1:
        raise ArgumentError(
            f"the prompt holds {len(rows)} texts",
            hint="pass one; generate_many takes several, with a constraint for each",
        )
    return rows[0]


def prompts_of(prompts: Any) -> list[Prompt]:
    """Several prompts, one by one: a list of them, or a batch as a BatchEncoding or a tensor [B, T]."""
    if isinstance(prompts, Mapping) or hasattr(prompts, "shape"):
        return list(_rows(prompts))
    return several("prompts", prompts, "a list with a prompt for each constraint")


def _rows(prompt: Any) -> list[list[int]]:
    """Token ids of every row, without what the attention mask of an encoding leaves out."""
    mask = None
    if isinstance(prompt, Mapping):
        if "input_ids" not in prompt:
            raise ArgumentError(f"the prompt is a mapping of {', '.join(map(str, prompt)) or 'nothing'}", hint=_HINT)
        prompt, mask = prompt["input_ids"], prompt.get("attention_mask")
    rows = _matrix(prompt)
    if mask is None:
        return rows
    kept = _matrix(mask)
    if list(map(len, kept)) != list(map(len, rows)):
        raise ArgumentError("input_ids and attention_mask of the prompt differ in shape", hint=_HINT)
    return [[token for token, seen in zip(*pair, strict=True) if seen] for pair in zip(rows, kept, strict=True)]


def _matrix(values: Any) -> list[list[int]]:
    """Rows of whole numbers, from a vector or a matrix."""
    listed: Any = values.tolist() if hasattr(values, "tolist") and not isinstance(values, type) else values
    if not _is_row(listed):
        raise ArgumentError(f"the prompt is {type(values).__name__}: {values!r}"[:200], hint=_HINT)
    rows = listed if listed and _is_row(listed[0]) else [listed]
    for row in rows:
        if not _is_row(row):
            raise ArgumentError(f"the prompt holds {row!r} beside lists of token ids"[:200], hint=_HINT)
    try:
        return [[whole("a token of the prompt", token) for token in row] for row in rows]
    except ArgumentError as error:
        raise ArgumentError(error.message, hint=_HINT) from None


def _is_row(values: Any) -> bool:
    if isinstance(values, (np.ndarray, Tensor)):
        return values.ndim > 0
    return isinstance(values, Sequence) and not isinstance(values, (str, bytes, bytearray))
