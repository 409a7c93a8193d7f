"""Yardsticks for an HMM's likelihood of sampled text: the language model's own, and a unigram's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ctrlg.distillation.adaptation import held_out_loss
from ctrlg.distillation.sampling import token_mask

SMOOTHING = 0.1  # occurrences that the unigram adds to every token


def unigram_log_likelihood(training: Iterable[Tensor], held_out: Tensor, vocab_size: int, eos_token_id: int) -> float:
    """Log-likelihood in nats per token of held-out sequences int64 [n, T] under smoothed token frequencies."""
    counts = torch.full((vocab_size,), SMOOTHING, dtype=torch.float64)
    for sequences in training:
        counts += torch.bincount(sequences[token_mask(sequences, eos_token_id)], minlength=vocab_size)
    logs = (counts / counts.sum()).log()
    return float(logs[held_out[token_mask(held_out, eos_token_id)]].mean())


def language_model_log_likelihood(model: Any, held_out: Tensor, eos_token_id: int, batch_size: int = 100) -> float:
    """Log-likelihood in nats per token of sequences int64 [n, T] under the language model, end-of-text before them."""
    mask = token_mask(held_out, eos_token_id)
    rows = [[eos_token_id, *row[keep].tolist()] for row, keep in zip(held_out, mask, strict=True)]
    return -held_out_loss(model, rows, batch_size)
