"""What the language model thought at every place of sequences that another engine sampled: one pass, no sampling.

The embeddings that predicted each token and samples of each next-token distribution, as `continue_prompts` keeps them
while it samples, so that an engine which hands out tokens alone leaves the same files.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ctrlg.distillation.sampling.categorical import sampled_tokens
from ctrlg.distillation.sampling.incremental import IncrementalModel
from ctrlg.distillation.sampling.samples import NextTokens, Samples, reading_places, spaced_points, token_mask
from ctrlg.distillation.sampling.settings import SamplingSettings

LOGITS = {"cpu": 1 << 26}  # logits held at once, by device: 256 MB of float32
MANY_LOGITS = 1 << 29  # on any other


@torch.inference_mode()
def read_samples(
    model: Any,
    prompts: Tensor,
    prompt_of: Tensor,
    sequences: Tensor,
    settings: SamplingSettings,
    eos_token_id: int,
    next_tokens: NextTokens | None = None,
) -> Samples:
    """Sequences with their embeddings, from one pass over them.

    Args:
        model: a causal language model of transformers.
        prompts: int64 [P, L], L >= 1, of equal length.
        prompt_of: the prompt each row continues, int64 [n].
        sequences: int64 [n, T], filled with end-of-text after the first one.
        settings: how they were sampled, for the next tokens.
        eos_token_id: ends a sequence.
        next_tokens: samples of every distribution besides; None for none.

    Returns:
        The sequences, embeddings float16 [tokens, D], and next tokens int32 [tokens, K] or None.

    Raises:
        ArgumentError: a model without a cache of transformers, or whose output layer cannot be observed.
    """
    mask = token_mask(sequences, eos_token_id)
    places = reading_places(mask)
    lengths = mask.sum(1)
    vectors: Tensor | None = None
    others = None if next_tokens is None else torch.empty(int(lengths.sum()), next_tokens.number, dtype=torch.int32)
    # Rows of like length together: what is computed after the end of a row is thrown away.
    for rows in lengths.argsort(stable=True).split(_rows_at_once(model, sequences.shape[1])):
        longest = int(lengths[rows].max())
        kept, where = mask[rows, :longest], places[rows, :longest]
        logits, hidden = _read(model, prompts, prompt_of[rows], sequences[rows, :longest])
        on_device = kept.to(hidden.device)
        if vectors is None:
            vectors = torch.empty(int(lengths.sum()), hidden.shape[2], dtype=torch.float16)
        vectors[where[kept]] = hidden[on_device].half().cpu()
        if next_tokens is not None and others is not None:
            steps, columns = torch.arange(longest).expand_as(kept)[kept], rows[:, None].expand_as(kept)[kept]
            points = spaced_points(next_tokens, steps, columns).to(hidden.device)
            chosen = sampled_tokens(logits[on_device], points, settings.temperature, settings.top_k, settings.top_p)
            others[where[kept]] = chosen.int().cpu()
    return Samples(sequences, vectors, others)


def _rows_at_once(model: Any, length: int) -> int:
    device = next(model.parameters()).device
    vocab_size = int(model.get_output_embeddings().weight.shape[0])
    return max(1, LOGITS.get(device.type, MANY_LOGITS) // (length * vocab_size))


def _read(model: Any, prompts: Tensor, prompt_of: Tensor, sequences: Tensor) -> tuple[Tensor, Tensor]:
    """(logits [n, T, V], hidden states [n, T, D]) that predicted each token of sequences [n, T]."""
    device = next(model.parameters()).device
    distinct, numbers = prompt_of.unique(return_inverse=True)
    reader = IncrementalModel(
        model, prompts[distinct].to(device), numbers.to(device), sequences.shape[1], embeddings=True
    )
    return reader.read_all(sequences[:, :-1].to(device))
