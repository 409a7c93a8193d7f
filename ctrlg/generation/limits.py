"""Whether a search fits the language model's context and the memory that is free, asked before any work.

    bytes = rows * (vocabulary * 4 * copies of the scores + tokens * bytes of a token's keys and values)

rows: all beams, or all samples, of all prompts.
"""

from __future__ import annotations

from typing import Any

from ctrlg.devices import lacking_memory
from ctrlg.errors import ArgumentError

_COPIES = 6  # of float32 scores [rows, V] at once: logits, normalised, kept for ranking, joined, cumulative, sorted


def require_context(model: Any, prompt: int, steps: int) -> None:
    """ArgumentError where a prompt and so many steps (content and suffix), in tokens, exceed the model's positions.

    Models without a limit, such as recurrent ones, take any number.
    """
    room = getattr(_text_config(model), "max_position_embeddings", None)
    # Recurrent models read texts of any length, whatever their configuration says.
    if isinstance(room, int) and room > 0 and not getattr(model, "_is_stateful", False) and prompt + steps > room:
        raise ArgumentError(
            f"a prompt of {prompt:,} tokens and {steps:,} more exceed the language model's {room:,} positions",
            hint=f"lower max_new_tokens by {prompt + steps - room:,} or more"
            if prompt < room
            else f"shorten the prompt (or the prefix, which is read first) to less than {room:,} tokens",
        )


def require_memory(model: Any, prompts: int, rows_each: int, tokens: int) -> None:
    """ArgumentError where `rows_each` beams or samples for every prompt, of so many tokens, do not fit into memory.

    What is free is asked of the system; where it does not say, nothing is refused.
    """
    width = int(model.get_output_embeddings().weight.shape[0])
    a_row = 4 * width * _COPIES + tokens * _bytes_of_token(model)
    if reason := lacking_memory(prompts * rows_each * a_row, model.device):
        fitting = next(
            (fewer for fewer in _halves(rows_each) if not lacking_memory(prompts * fewer * a_row, model.device)), 1
        )
        raise ArgumentError(
            f"{rows_each:,} beams or samples of {tokens:,} tokens do not fit into memory: {reason}",
            hint=f"{fitting:,} would fit, for instance; fewer tokens make room for more",
        )


def _bytes_of_token(model: Any) -> int:
    """Bytes of keys and values that attention keeps for a token; 0 where the configuration does not say."""
    config = _text_config(model)
    layers, heads = getattr(config, "num_hidden_layers", 0) or 0, getattr(config, "num_attention_heads", 0) or 0
    if not heads:
        return 0
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = getattr(config, "num_key_value_heads", None) or heads
    return 2 * layers * kept * size * model.dtype.itemsize


def _halves(number: int) -> list[int]:
    return [number >> shift for shift in range(1, number.bit_length())]


def _text_config(model: Any) -> Any:
    config = model.config
    return config.get_text_config() if hasattr(config, "get_text_config") else config
