"""Samples of a language model's next-token distribution: one uniform number a sample, by inversion in two levels.

A row of weights exp(logit - largest logit) is cut into blocks; a uniform number picks a block from the cumulated
block sums, then a token from the cumulated weights within that block. So the vocabulary is passed over a few times in
slices that stay in the processor's cache, and only sums, not all weights, are cumulated (in float64).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError

BLOCK = 256  # tokens summed before anything is cumulated
SLICE_BYTES = {"cpu": 4 << 20, "cuda": 1 << 30}  # weights held at once: what stays in a cache; what fills a device


def sampled_tokens(
    logits: Tensor, uniforms: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Tensor:
    """A token id for every uniform number, by inversion of the distribution.

    Args:
        logits: [n, V], any floating type.
        uniforms: float64 [n] or [n, K] in [0, 1), K samples of each row; ids ascend with them.
        temperature: of the distribution, above 0.
        top_k: sample from the so many likeliest tokens; those that tie with the last of them stay. 0 is off.
        top_p: sample from the likeliest tokens of so much probability; 1 is off.

    Returns:
        int64, of the shape of `uniforms`.

    Raises:
        ArgumentError: logits that are NaN or infinite.
    """
    vocab_size = logits.shape[1]
    width = -(-vocab_size // BLOCK) * BLOCK
    rows = max(1, SLICE_BYTES.get(logits.device.type, 1 << 28) // (4 * width))
    # The padding after the last token keeps the weight zero and is never sampled.
    buffer = torch.zeros(min(rows, len(logits)), width, dtype=torch.float32, device=logits.device)
    found = []
    for start in range(0, len(logits), rows):
        part = slice(start, min(start + rows, len(logits)))
        padded = buffer[: part.stop - start]
        weights = padded[:, :vocab_size].copy_(logits[part])
        if temperature != 1:
            weights /= temperature
        if top_k or top_p < 1:
            weights.copy_(_without_tail(weights, top_k, top_p))
        weights -= weights.amax(1, keepdim=True)
        weights.exp_()
        found.append(_invert(padded.view(len(padded), -1, BLOCK), uniforms[part].reshape(len(padded), -1)))
    return torch.cat(found).reshape(uniforms.shape)


def _invert(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Token ids [n, K] of weights [n, blocks, BLOCK] at uniforms [n, K]."""
    mass = weights.sum(2).double()
    cumulated = mass.cumsum(1)
    if not cumulated[:, -1].isfinite().all():
        raise ArgumentError(
            "the language model's logits are NaN or infinite", hint="load it in bfloat16 or float32, not in float16"
        )
    threshold = _below(uniforms * cumulated[:, -1:], cumulated[:, -1:])
    block = torch.searchsorted(cumulated, threshold, right=True)
    within = weights[torch.arange(len(weights), device=weights.device)[:, None], block].double().cumsum(2)
    total = within[:, :, -1]
    # The block's own sum may differ from its float32 sum in the last bits: the threshold is carried over as a share.
    share = (threshold - (cumulated - mass).gather(1, block)) / mass.gather(1, block)
    token = torch.searchsorted(within, _below(share.clamp(0, 1) * total, total)[:, :, None], right=True)
    return block * BLOCK + token[:, :, 0]


def _below(threshold: Tensor, total: Tensor) -> Tensor:
    """The threshold, kept below the total, so that a token of positive weight is always found."""
    return torch.minimum(threshold, torch.nextafter(total, torch.zeros_like(total)))


def _without_tail(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Logits [n, V] with -inf outside the top_k tokens, then outside the fewest that hold top_p of the rest."""
    if top_k:
        least = logits.topk(min(top_k, logits.shape[1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(1, descending=True)
        probabilities = ordered.softmax(1)
        removed = probabilities.cumsum(1) - probabilities >= top_p
        logits = logits.masked_fill(torch.zeros_like(removed).scatter_(1, order, removed), -torch.inf)
    return logits
