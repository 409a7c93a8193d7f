"""Yardsticks for an HMM's likelihood of sampled text: the language model's own, and a unigram's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ctrlg.devices import varied_shapes
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.token_loss import held_out_loss

SMOOTHING = 0.1  # occurrences that the unigram adds to every token


def unigram_log_likelihood(training: Iterable[Tensor], held_out: Tensor, vocab_size: int, eos_token_id: int) -> float:
    """Log-likelihood in nats per token of held-out sequences int64 [n, T] under smoothed token frequencies.

    Args:
        training: sequences int64 [n, T] to count.
        held_out: sequences int64 [n, T].
        vocab_size: V.
        eos_token_id: of the language model.
    """
    counts = torch.full((vocab_size,), SMOOTHING, dtype=torch.float64)
    for sequences in training:
        counts += torch.bincount(sequences[token_mask(sequences, eos_token_id)], minlength=vocab_size)
    logs = (counts / counts.sum()).log()
    return float(logs[held_out[token_mask(held_out, eos_token_id)]].mean())


@varied_shapes()
def language_model_log_likelihood(
    model: Any, prompts: Sequence[Sequence[int]], held_out: Tensor, eos_token_id: int, batch_size: int = 100
) -> float:
    """Log-likelihood in nats per token of sequences int64 [n, T] under the language model that continued the prompts.

    Args:
        model: a causal language model of transformers.
        prompts: token ids; row r continues prompt r modulo their number, as `sample_chunks` has it.
        held_out: sequences int64 [n, T].
        eos_token_id: of the language model.
        batch_size: sequences at once.
    """
    mask = token_mask(held_out, eos_token_id)
    before = [list(prompts[row % len(prompts)]) for row in range(len(held_out))]
    whole = [[*start, *row[keep].tolist()] for start, row, keep in zip(before, held_out, mask, strict=True)]
    longer = [row for row in before if len(row) > 1]
    total = _log_likelihood(model, whole, batch_size) - _log_likelihood(model, longer, batch_size)
    return total / int(mask.sum())


def _log_likelihood(model: Any, rows: list[list[int]], batch_size: int) -> float:
    """Nats of all tokens after the first of each row."""
    if not rows:
        return 0.0
    return -held_out_loss(model, rows, batch_size) * sum(len(row) - 1 for row in rows)
