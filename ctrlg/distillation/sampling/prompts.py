"""Prompts to sample from: read from a file, tokenised, with or without the tokenizer's chat template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ctrlg.errors import ArgumentError, DataError, VocabularyError
from ctrlg.files.reading import parse_json, parse_json_lines, read_text

FORMATS = "a JSON list of texts, JSON lines (.jsonl: texts, or objects with a text column) or a text file (.txt)"


def read_prompts(path: str | Path, column: str = "prompt") -> list[str]:
    """The prompts of a file, in its order.

    Args:
        path: `.txt` (one prompt a line, empty lines apart), `.jsonl` (a text, or an object with `column`, a line), and
            under any other name a JSON list of texts, as Ctrl-G reads it.
        column: of objects, which holds the prompt.

    Raises:
        DataError: a missing or empty file, and a line or an entry that is no text.
    """
    path = Path(path)
    text = read_text(path, hint=FORMATS)
    if path.suffix == ".txt":
        prompts: list[Any] = [line for line in text.split("\n") if line.strip()]
    elif path.suffix == ".jsonl":
        prompts = [_prompt_of(record, column) for _, record in parse_json_lines(text, path, FORMATS)]
    else:
        prompts = parse_json(text, str(path), FORMATS)
        if not isinstance(prompts, list):
            raise DataError(f"{path} holds a {type(prompts).__name__}, not a list of texts", hint=FORMATS)
    for number, prompt in enumerate(prompts, 1):
        if not isinstance(prompt, str):
            raise DataError(f"{path}, prompt {number} is no text: {json.dumps(prompt)[:80]}", hint=FORMATS)
    if not prompts:
        raise DataError(f"{path} holds no prompts", hint=FORMATS)
    return prompts


def encode_prompts(tokenizer: Any, prompts: Sequence[str], chat_template: bool = False) -> list[list[int]]:
    """Token ids of each prompt; with `chat_template` as a user's turn, up to where the answer begins.

    Args:
        tokenizer: of the language model.
        prompts: texts.
        chat_template: whether a prompt is a user's turn.

    Raises:
        DataError: the tokenizer has no chat template, or a prompt has no tokens.
    """
    if chat_template and not getattr(tokenizer, "chat_template", None):
        raise DataError(
            f"the tokenizer {tokenizer.name_or_path or type(tokenizer).__name__} has no chat template",
            hint="choose an instruction-tuned model, or give the prompts as plain text",
        )
    if chat_template:
        texts = [_user_turn(tokenizer, prompt) for prompt in prompts]
        rows = [list(tokenizer.encode(text, add_special_tokens=False)) for text in texts]
    else:
        rows = [list(tokenizer.encode(prompt)) for prompt in prompts]
    for number, row in enumerate(rows, 1):
        if not row:
            raise DataError(
                f"prompt {number}, {prompts[number - 1]!r}, has no tokens",
                hint=f"the end-of-text token alone is a prompt: {tokenizer.eos_token}",
            )
    return rows


def end_of_text(tokenizer: Any, token: str = "") -> int:
    """Id of the token that ends a sequence: `token` where it is named, else the tokenizer's own.

    Args:
        tokenizer: of the language model.
        token: its text; where empty the tokenizer's own.

    Raises:
        VocabularyError: the tokenizer does not know `token`.
        ArgumentError: it has none of its own.
    """
    if token:
        number = tokenizer.get_vocab().get(token)
        if number is None:
            raise VocabularyError(
                f"the tokenizer has no token {token!r}", hint=f"its own end-of-text token is {tokenizer.eos_token!r}"
            )
        return int(number)
    if tokenizer.eos_token_id is None:
        raise ArgumentError("the tokenizer has no end-of-text token", hint="name one with --eos_token")
    return int(tokenizer.eos_token_id)


def _user_turn(tokenizer: Any, prompt: str) -> str:
    turns = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def _prompt_of(record: Any, column: str) -> Any:
    """The text of a line: the record itself, or the column of an object (None where it has none)."""
    return record.get(column) if isinstance(record, dict) else record
