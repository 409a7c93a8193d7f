"""Sentences drawn from a language model, with the last layer's embeddings that predicted each token.

Written for many short sequences after one prompt: the prompt is read once, its cache is shared over the batch, and
rows that have ended leave the batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError


class SamplingSettings(NamedTuple):
    """How to draw. temperature > 0; top_k 0 and top_p 1 leave the distribution whole."""

    max_new_tokens: int = 32
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


class Samples(NamedTuple):
    """Drawn sequences.

    sequences: int64 [n, T], filled with end-of-text after the first one.
    embeddings: last hidden states that predicted the tokens up to and including the first end-of-text, in reading
        order, float16 [tokens, D]; None where not asked for.
    """

    sequences: Tensor
    embeddings: Tensor | None


def token_mask(sequences: Tensor, eos_token_id: int) -> Tensor:
    """True up to and including the first end-of-text of each row, bool [n, T]: the positions that were predicted."""
    ended = (sequences == eos_token_id).cumsum(1)
    return (ended == 0) | ((ended == 1) & (sequences == eos_token_id))


@torch.inference_mode()
def sample(
    model: Any,
    prompt_ids: list[int],
    count: int,
    settings: SamplingSettings,
    eos_token_id: int,
    generator: torch.Generator,
    embeddings: bool = False,
) -> Samples:
    """`count` continuations of a prompt from a causal language model of transformers, in one batch.

    prompt_ids: at least one token. Raises ArgumentError for settings out of range.
    """
    _check(settings, prompt_ids)
    device = next(model.parameters()).device
    head = model.get_output_embeddings()
    decoder = model.get_decoder()
    sequences = torch.full((count, settings.max_new_tokens), eos_token_id, dtype=torch.long, device=device)
    kept: list[Tensor] = []
    live = torch.arange(count, device=device)

    output = decoder(torch.tensor([prompt_ids], device=device), use_cache=True)
    cache = output.past_key_values
    cache.batch_repeat_interleave(count)
    hidden = output.last_hidden_state[:, -1].expand(count, -1)
    positions: list[tuple[int, Tensor]] = []
    for t in range(settings.max_new_tokens):
        tokens = _draw(head(hidden).float(), settings, generator)
        sequences[live, t] = tokens
        if embeddings:
            kept.append(hidden.half().cpu())
            positions.append((t, live.cpu()))
        going = tokens != eos_token_id
        if t + 1 == settings.max_new_tokens or not going.any():
            break
        if not going.all():
            live, tokens = live[going], tokens[going]
            cache.batch_select_indices(going.nonzero()[:, 0])
        output = decoder(tokens[:, None], past_key_values=cache, use_cache=True)
        cache, hidden = output.past_key_values, output.last_hidden_state[:, -1]
    sequences = sequences.cpu()
    return Samples(sequences, _in_reading_order(kept, positions, sequences, eos_token_id) if embeddings else None)


def _in_reading_order(
    kept: list[Tensor], positions: list[tuple[int, Tensor]], sequences: Tensor, eos_token_id: int
) -> Tensor:
    mask = token_mask(sequences, eos_token_id)
    place = (mask.flatten().cumsum(0) - 1).reshape(mask.shape)
    ordered = torch.empty(int(mask.sum()), kept[0].shape[1], dtype=torch.float16)
    for vectors, (t, rows) in zip(kept, positions, strict=True):
        ordered[place[rows, t]] = vectors
    return ordered


def _draw(logits: Tensor, settings: SamplingSettings, generator: torch.Generator) -> Tensor:
    logits = logits / settings.temperature
    if settings.top_k:
        least = logits.topk(min(settings.top_k, logits.shape[1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if settings.top_p < 1:
        ordered, order = logits.sort(1, descending=True)
        mass_before = ordered.softmax(1).cumsum(1) - ordered.softmax(1)
        removed = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, order, mass_before >= settings.top_p)
        logits = logits.masked_fill(removed, -torch.inf)
    # One uniform number per row against the cumulated distribution: torch.multinomial and Gumbel noise draw one per
    # token of the vocabulary, which costs as much as the language model's own step.
    cumulated = logits.softmax(1).cumsum(1)
    drawn = torch.rand(len(logits), 1, generator=generator, device=logits.device) * cumulated[:, -1:]
    return torch.searchsorted(cumulated, drawn, right=True)[:, 0].clamp_max(logits.shape[1] - 1)


def _check(settings: SamplingSettings, prompt_ids: list[int]) -> None:
    if settings.max_new_tokens < 1 or settings.temperature <= 0 or settings.top_k < 0:
        raise ArgumentError(
            f"max_new_tokens {settings.max_new_tokens}, temperature {settings.temperature}, top_k {settings.top_k}",
            hint="max_new_tokens >= 1, temperature > 0, top_k >= 0 (0 is off)",
        )
    if not 0 < settings.top_p <= 1:
        raise ArgumentError(f"top_p is {settings.top_p}", hint="choose it above 0 and at most 1")
    if not prompt_ids:
        raise ArgumentError("the prompt has no tokens", hint="the end-of-text token alone is a prompt")
