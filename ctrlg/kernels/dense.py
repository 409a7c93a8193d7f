"""Next-token scores of a matrix that is held as floats, by few large products.

`reference.scores` picks the columns of every choice of weights. In a tensor whose rows are long that costs more than
to multiply all columns with the weights of those choices that many tokens share, and to pick from the products.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.kernels.reference import scaled_weights
from ctrlg.kernels.scoring import ScoringStep

BLOCK = 8192
"""Columns that are multiplied at a time."""

FEW = 8
"""A choice that fewer than one token in so many shares has its columns picked."""


def scores(p: Tensor, step: ScoringStep) -> Tensor:
    """As `reference.scores`, for `p` [H, N] of the type of `predictive`."""
    weights, predictive, row_of, class_of = step
    out = predictive.new_empty(len(predictive), p.shape[1])
    if not row_of.numel():
        return out
    unit, log_peak = scaled_weights(weights.to(predictive.dtype))
    # Many classes lead a sequence to the same row of weights. Classes whose columns of row_of [B, K] are equal make one
    # *choice*: row_choices is int64 [B, C], one column for each.
    row_choices, choice_of_class = torch.unique(row_of.long(), dim=1, return_inverse=True)
    choice_of = choice_of_class[class_of.long()]
    for start in range(0, p.shape[1], BLOCK):
        block = p[:, start : start + BLOCK]
        choices, choice_in_block = torch.unique(choice_of[start : start + BLOCK], return_inverse=True)
        rows_of = row_choices[:, choices]
        numerator, denominator = _products(unit, predictive, rows_of, choice_in_block, block)
        # A dead choice has row -1, the row of zeros at the end of `unit`: its numerator is 0 and its log -inf. What is
        # left to mask is 0 / 0.
        ratio = numerator.log().sub_(denominator.log()).add_(log_peak[rows_of][:, choice_in_block])
        out[:, start : start + BLOCK] = ratio.masked_fill_(denominator <= 0, -torch.inf)
    return out


def _products(
    unit: Tensor, predictive: Tensor, rows_of: Tensor, choice_of: Tensor, block: Tensor
) -> tuple[Tensor, Tensor]:
    """`unit[rows_of[b, choice_of[v]]] @ block[:, v]` and `predictive @ block`, [B, width] each.

    rows_of: int64 [B, C]. choice_of: int64 [width] in [0, C).
    """
    # A product with all columns of the block is cheaper than to pick many of them, so a choice that at least one token
    # in FEW uses gets one. `left` is [1 + many, B, H], products [1 + many, B, width]; the first is the denominator.
    many = torch.bincount(choice_of, minlength=rows_of.shape[1]) * FEW >= len(choice_of)
    left = torch.cat([predictive[None], unit[rows_of[:, many].T]])
    products = left @ block
    # The product of a frequent choice, counted from 1. Tokens of the others get product 0 for now; the loop replaces
    # it.
    place = many.cumsum(0).masked_fill(~many, 0)[choice_of]
    numerator = products.gather(0, place.expand(1, *products.shape[1:]))[0]
    for choice in (~many).nonzero()[:, 0].tolist():
        tokens = (choice_of == choice).nonzero()[:, 0]
        numerator[:, tokens] = unit[rows_of[:, choice]] @ block[:, tokens]
    return numerator, products[0]
