"""The operations of a row-stochastic matrix in plain torch: any device, the dtype of the input.

A matrix is anything with `shape`, `device` and `column_block(start, stop, dtype)`; each operation decodes
`BLOCK_ENTRIES` entries at a time and multiplies, so no dense matrix is ever built. These are the
definitions that the fast kernels are held against.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from ctrlg.kernels.scoring import ScoringStep

BLOCK_ENTRIES = 2**22
"""Entries decoded at a time: 16 MB of float32."""

LARGEST_LOGIT = 1e3
"""Stands for +inf in a language model's scores; larger numbers would lose the differences below."""


class ColumnBlocks(Protocol):
    """What the reference kernels need of a matrix."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def device(self) -> torch.device: ...

    def column_block(self, start: int, stop: int, dtype: torch.dtype) -> Tensor: ...


def left(matrix: ColumnBlocks, x: Tensor) -> Tensor:
    """`x @ M`: [B, H] -> [B, N]."""
    out = x.new_empty(len(x), matrix.shape[1])
    for start, stop in _spans(matrix):
        out[:, start:stop] = x @ matrix.column_block(start, stop, x.dtype)
    return out


def right(matrix: ColumnBlocks, y: Tensor) -> Tensor:
    """`y @ M.T`: [S, N] -> [S, H]."""
    out = y.new_zeros(len(y), matrix.shape[0])
    for start, stop in _spans(matrix):
        out += y[:, start:stop] @ matrix.column_block(start, stop, y.dtype).T
    return out


def columns(matrix: ColumnBlocks, ids: Tensor) -> Tensor:
    """`M[:, ids].T`: int64 [n] in [-1, N) -> float32 [n, H]; -1 gives ones."""
    # Beams often have a token in common: each distinct column is decoded once.
    distinct, position = torch.unique(ids.clamp(min=0), return_inverse=True)
    out = torch.empty(len(distinct), matrix.shape[0], dtype=torch.float32, device=matrix.device)
    for i, v in enumerate(distinct.tolist()):
        out[i] = matrix.column_block(v, v + 1, torch.float32)[:, 0]
    return ones_where_missing(out[position], ids)


def ones_where_missing(picked: Tensor, ids: Tensor) -> Tensor:
    """Rows of `picked` [n, H], replaced by ones where the id is -1: a missing token excludes no state."""
    return picked.masked_fill((ids < 0)[:, None], 1.0)


def class_sums(matrix: ColumnBlocks, class_of: Tensor, num_classes: int) -> Tensor:
    """Sum of the columns of each class: int [N] in [0, K) -> float32 [K, H]."""
    # [H, K] while it is summed, so that a block of columns adds along rows; turned round at the end.
    out = torch.zeros(matrix.shape[0], num_classes, dtype=torch.float32, device=matrix.device)
    for start, stop in _spans(matrix):
        block = matrix.column_block(start, stop, torch.float32)
        if block.device.type == "cpu":
            out.index_add_(1, class_of[start:stop].long(), block)  # along rows: twenty times faster than into columns
        else:  # where many threads would add to the same few places, a product is faster
            classes = torch.arange(num_classes, device=block.device)
            out += block @ (class_of[start:stop, None] == classes).float()
    return out.T.contiguous()


def scores(matrix: ColumnBlocks, step: ScoringStep) -> Tensor:
    """Log-ratio of `weights[row_of[b, class_of[v]]] @ M[:, v]` over `predictive[b] @ M[:, v]`; [B, N].

    Classes whose columns of `row_of` agree share one product. Each row of weights is divided by its largest
    entry, whose log is added at the end, so that small weights do not underflow.
    """
    weights, predictive, row_of, class_of = step
    out = predictive.new_empty(len(predictive), matrix.shape[1])
    if not row_of.numel():
        return out
    unit, log_peak = scaled_weights(weights.to(predictive.dtype))
    # row_choices: int64 [B, C], the distinct columns of row_of; choice_of: int64 [N], which of them a token uses.
    row_choices, choice_of_class = torch.unique(row_of.long(), dim=1, return_inverse=True)
    choice_of = choice_of_class[class_of.long()]
    for start, stop in _spans(matrix):
        block = matrix.column_block(start, stop, predictive.dtype)
        denominator = predictive @ block
        choice_in_block = choice_of[start:stop]
        for choice in torch.unique(choice_in_block).tolist():
            # Only the columns of this choice: each token is in one product, so all together cost as much as one.
            tokens = (choice_in_block == choice).nonzero()[:, 0]
            rows = row_choices[:, choice]
            numerator = unit[rows] @ block.gather(1, tokens.expand(len(block), -1))
            below = denominator[:, tokens]
            # Logs are subtracted, not quotients taken: a quotient of float32 could overflow.
            ratio = numerator.log() - below.log() + log_peak[rows, None]
            out[:, start + tokens] = ratio.masked_fill((numerator <= 0) | (below <= 0), -torch.inf)
    return out


def add_paired_scores(
    matrix: ColumnBlocks,
    logits: Tensor,
    predictive: Tensor,
    rows: Tensor,
    row_of: Tensor,
    offset: Tensor,
    class_of: Tensor,
) -> tuple[Tensor, Tensor]:
    """logits + offset[b, k] + log((predictive[b] * rows[row_of[b, k]]) @ M) - log(predictive[b] @ M) at class k of v.

    Every pair of a sequence and a row is multiplied, B * n rows of H: a definition, not a way to do it.
    """
    out = torch.empty(logits.shape, dtype=predictive.dtype, device=logits.device)
    row_of, class_of = row_of.long(), class_of.long()
    rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])  # so that there is one
    for start, stop in _spans(matrix):
        block = matrix.column_block(start, stop, predictive.dtype)
        classes = class_of[start:stop]
        chosen = row_of[:, classes]
        # [B, n + 1, H] times [H, width]: the temporaries are n + 1 times as large as in a product for the batch.
        products = (predictive[:, None] * rows) @ block
        numerator = products.gather(1, chosen.clamp(min=0)[:, None])[:, 0]
        denominator = predictive @ block
        ratio = numerator.log() - denominator.log() + offset[:, classes]
        out[:, start:stop] = ratio.masked_fill((chosen < 0) | (numerator <= 0) | (denominator <= 0), -torch.inf)
    out += finite_logits(logits)
    return out, out.logsumexp(dim=1)


def finite_logits(logits: Tensor) -> Tensor:
    """float32, NaN as -inf and +inf as LARGEST_LOGIT."""
    return logits.float().nan_to_num(nan=-torch.inf, posinf=LARGEST_LOGIT, neginf=-torch.inf)


def scaled_weights(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [R, H] divided by their largest entries, and the logs of these; after them a row of zeros, which the dead
    index -1 selects. A row of zeros has log 0."""
    peak = weights.amax(dim=1) if len(weights) else weights.new_empty(0)
    # A row of zeros is divided by 1: its numerators are 0 and its scores -inf all the same.
    peak = torch.where(peak > 0, peak, 1.0)
    unit = torch.cat([weights / peak[:, None], weights.new_zeros(1, weights.shape[1])])
    return unit, torch.cat([peak.log(), peak.new_zeros(1)])


def _spans(matrix: ColumnBlocks) -> Iterator[tuple[int, int]]:
    hidden_states, size = matrix.shape
    # All H rows of a span are decoded at once, so the fewer columns the more states.
    width = max(1, BLOCK_ENTRIES // hidden_states)
    for start in range(0, size, width):
        yield start, min(start + width, size)
