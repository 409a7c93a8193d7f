"""Soft emission counts: states are credited with the language model's next-token distribution, not with one token.

After x_1..x_{t-1} the language model expects token v with probability q_t(v), of which the sampled token is one sample,
and the HMM is in state h with a_t[h] = p(z_t = h | x_<t). All of q_t credits

    count[h, v] = sum_t q_t(v) a_t[h] beta[h, v] / p(v | x_<t),

which, the a_t held, is EM's step for beta in sum_t sum_v q_t(v) log p(v | x_<t). The a_t move with the parameters and
moves between states are counted as ever, so that this is no EM of one objective: held-out likelihood has to judge it.

q_t is represented by K tokens, sampled systematically (at K evenly spaced points of the cumulated distribution, shifted
by one uniform number): an unbiased estimate in which a token of probability above 1/K never goes missing. They cost one
product with the output layer, take 4 K bytes a token, and make every EM step after that a little dearer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctrlg.distillation.sampling.categorical import sampled_tokens
from ctrlg.distillation.sampling.parts import refuse_other_settings
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.storage import (
    DESCRIPTION,
    NEXT_TOKENS_SUFFIX,
    read_description,
    read_embeddings,
    read_sequences,
    read_tensor,
)
from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.tensors import write_tensors
from ctrlg.kernels import cpu_kernels
from ctrlg.matrices import StochasticMatrix

SUFFIX = NEXT_TOKENS_SUFFIX
ROWS = 256  # hidden states, or positions, worked on at a time, to bound temporary memory
CREDIT_NUMBERS = {"cpu": 1 << 23}  # of a block of credits, by device
LARGE_CREDIT = 1 << 28  # on any other: 1 GB of float32, so that launches do not count


_LEAST_LOG = -700.0  # of a probability that underflowed: keeps the sum finite


@torch.inference_mode()
def sample_next_tokens(
    head: Any, embeddings: Tensor, number: int, vocab_size: int, generator: torch.Generator
) -> Tensor:
    """Samples of the next-token distribution of every hidden state.

    Args:
        head: of `output_layer`, applied to the embeddings in its own precision.
        embeddings: last hidden states of the language model, [tokens, D].
        number: K, samples of each distribution, >= 1.
        vocab_size: tokens of the HMM; logits beyond it do not count.
        generator: on the CPU.

    Returns:
        int32 [tokens, K] on the CPU, ascending in each row.

    Raises:
        ArgumentError: a number below 1.
        DataError: hidden states that are not finite.
    """
    if number < 1:
        raise ArgumentError(f"number is {number}", hint="16 to 64 tokens describe a distribution well")
    weight = next(head.parameters())
    sampled = torch.empty(len(embeddings), number, dtype=torch.int32)
    for start in range(0, len(embeddings), ROWS):
        rows = embeddings[start : start + ROWS]
        if not torch.isfinite(rows).all():
            raise DataError("the embeddings hold NaN or infinity", hint="sample again, in bfloat16 or float32")
        shift = torch.rand(len(rows), 1, generator=generator, dtype=torch.float64)
        points = ((torch.arange(number) + shift) / number).to(weight.device)
        sampled[start : start + ROWS] = sampled_tokens(head(rows.to(weight))[:, :vocab_size], points).int().cpu()
    return sampled


def describe_next_tokens(
    sequences_file: str | Path,
    embeddings_file: str | Path,
    head: Any,
    number: int,
    vocab_size: int,
    eos_token_id: int,
    seed: int,
) -> bool:
    """Leave the samples of next tokens for a sampled file beside it; False where they are there already.

    Args:
        sequences_file: of the sampled sequences.
        embeddings_file: of their embeddings.
        head: of `output_layer`.
        number: samples of each distribution.
        vocab_size: of the HMM.
        eos_token_id: of the HMM.
        seed: of the samples.

    Raises:
        ArgumentError: samples of other settings are there, and as sample_next_tokens.
    """
    path = Path(f"{sequences_file}{SUFFIX}")
    sequences = read_sequences(sequences_file)
    settings = {
        "draws": number,
        "vocab_size": vocab_size,
        "seed": seed,
        "sequences_sha256": hashlib.sha256(sequences.numpy().tobytes()).hexdigest(),
    }
    if path.is_file():
        refuse_other_settings(path, read_description(path), settings)
        return False
    embeddings = read_embeddings(embeddings_file, token_mask(sequences, eos_token_id))
    generator = torch.Generator().manual_seed(seed)
    write_next_tokens(sequences_file, sample_next_tokens(head, embeddings, number, vocab_size, generator), settings)
    return True


def write_next_tokens(
    sequences_file: str | Path, next_tokens: Tensor, settings: Mapping[str, Any] | None = None
) -> None:
    """Write samples of next tokens beside the sequences they belong to, atomically.

    Args:
        sequences_file: of the sampled sequences.
        next_tokens: int32 [tokens, K].
        settings: what the file says of itself.
    """
    write_tensors(f"{sequences_file}{SUFFIX}", {"next_tokens": next_tokens}, {DESCRIPTION: json.dumps(settings or {})})


def read_next_tokens(sequences_file: str | Path, mask: Tensor, vocab_size: int) -> Tensor:
    """The next tokens that belong to a file of sequences, in reading order, int32 [tokens, K].

    Args:
        sequences_file: of the sampled sequences.
        mask: the predicted tokens of the whole file, bool [n, T].
        vocab_size: of the HMM.

    Raises:
        DataError: the file is missing or holds other data.
    """
    path = f"{sequences_file}{SUFFIX}"
    next_tokens = read_tensor(path, "next_tokens")
    if next_tokens.dtype != torch.int32 or next_tokens.dim() != 2 or len(next_tokens) != int(mask.sum()):
        raise DataError(
            f"{path} holds {next_tokens.dtype} {tuple(next_tokens.shape)} for {int(mask.sum())} predicted tokens",
            hint="give those that were made together with these sequences",
        )
    if next_tokens.numel() and not (int(next_tokens.min()) >= 0 and int(next_tokens.max()) < vocab_size):
        raise DataError(f"{path} holds tokens outside [0, {vocab_size})", hint="sample them again, from the same model")
    return next_tokens


def credit_next_tokens(counts: Tensor, emission: StochasticMatrix, predictive: Tensor, next_tokens: Tensor) -> Tensor:
    """Add the soft emission counts of n positions to `counts`, in place.

    A token that the model cannot emit counts for nothing.

    Args:
        counts: [V, H], changed.
        emission: [H, V], of the model the E-step is run on.
        predictive: p(z_t = h | x_<t), [n, H].
        next_tokens: samples of the language model's distribution at each position, int32 [n, K], each of weight 1 / K.

    Returns:
        What they are worth, a scalar: sum_t (1/K) sum_k log p(v_tk | x_<t), nats.
    """
    by_token = emission.column_block(0, emission.shape[1], counts.dtype).T
    arrays = (by_token, predictive, counts)
    if len(next_tokens) and cpu_kernels(*arrays) and all(array.is_contiguous() for array in arrays):
        return _credit_in_kernel(by_token, predictive, next_tokens, counts)
    return credit_in_torch(by_token, predictive, next_tokens, counts)


def credit_in_torch(by_token: Tensor, predictive: Tensor, next_tokens: Tensor, counts: Tensor) -> Tensor:
    """`credit_next_tokens` on any device and in any dtype.

    Args:
        by_token: emission of counts' dtype, [V, H].
        predictive: p(z_t = h | x_<t), [n, H].
        next_tokens: int32 [tokens, K].
        counts: [V, H], changed.
    """
    total = predictive.new_zeros(())
    number = next_tokens.shape[1]
    most = CREDIT_NUMBERS.get(predictive.device.type, LARGE_CREDIT)
    rows = max(1, most // (number * predictive.shape[1]))
    for weights, tokens in zip(predictive.split(rows), next_tokens.to(predictive.device).split(rows), strict=True):
        flat = tokens.reshape(-1).long()
        credit = by_token[flat].to(predictive).reshape(len(weights), number, -1) * weights[:, None]
        probability = credit.sum(2)
        total += probability.log().clamp_min(_LEAST_LOG).sum() / number
        credit /= torch.where(probability > 0, probability, 1.0)[..., None] * number
        counts.index_add_(0, flat, credit.reshape(len(flat), -1).to(counts))
    return total


def _credit_in_kernel(by_token: Tensor, predictive: Tensor, next_tokens: Tensor, counts: Tensor) -> Tensor:
    from ctrlg.kernels import credits, threads

    parts = threads.parts_of(next_tokens.numel() * predictive.shape[1])
    logs = np.zeros(parts)
    arrays = (by_token.numpy(), predictive.numpy(), next_tokens.contiguous().numpy(), counts.numpy(), logs)
    threads.run_parts(credits.credit_samples, parts, *arrays, _LEAST_LOG)
    return torch.tensor(logs.sum() / next_tokens.shape[1], dtype=predictive.dtype)
