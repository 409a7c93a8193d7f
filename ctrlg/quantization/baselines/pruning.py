"""Magnitude pruning: the smallest entries of a matrix become zero, the others keep all their digits.

Norm-Q (arXiv 2509.25439) is compared with it. Probabilities span many decades and rows differ in how they are spread,
so that flat rows lose all their entries long before spiky ones lose any: such a row is no distribution any more, and
nothing can bring it back. That is the collapse this method is here to show.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.quantization.rows import check_bits, check_entries

FLOAT_BITS = 32  # of an entry that is kept


def prune(p: Tensor, ratio: float) -> Tensor:
    """`p` without its smallest entries; rows that keep any sum to 1 again.

    Args:
        p: float32 or float64 [H, N], entries >= 0.
        ratio: share of the entries to drop, 0 to below 1; `round(ratio * H * N)` entries become 0, the first of equal
            ones before the others. A row that loses all its entries stays empty: it sums to 0.

    Returns:
        The same shape and type.

    Raises:
        ArgumentError: entries that are negative or not finite, and a ratio out of range.
    """
    check_ratio(ratio)
    check_entries(p)
    kept = p.flatten().clone()
    dropped = round(ratio * kept.numel())
    if dropped:
        threshold = kept.kthvalue(dropped).values
        below = kept < threshold
        ties = (kept == threshold).nonzero()[: dropped - int(below.sum()), 0]
        kept[below] = 0
        kept[ties] = 0
    kept = kept.reshape(p.shape)
    total = kept.sum(1, keepdim=True, dtype=torch.float64)
    return kept.div_(torch.where(total > 0, total, 1).to(kept.dtype))


def prune_to_bits(p: Tensor, bits: int) -> Tensor:
    """`prune` at the ratio of `pruning_ratio(bits)`; same shape and type, errors as there.

    Args:
        p: float32 or float64 [H, N], entries >= 0.
        bits: 1 to 32.
    """
    return prune(p, pruning_ratio(bits))


def pruning_ratio(bits: int) -> float:
    """The ratio that leaves `bits` bits an entry on average, `1 - bits / 32`: what is kept are float32 numbers.

    Where they are is not counted, in favor of pruning.

    Args:
        bits: 1 to 32.

    Raises:
        ArgumentError: bits out of range.
    """
    check_bits(bits, FLOAT_BITS)
    return 1 - bits / FLOAT_BITS


def check_ratio(ratio: float) -> None:
    """Check a share of entries to drop.

    Args:
        ratio: 0 to below 1.

    Raises:
        ArgumentError: it is outside.
    """
    if not 0 <= ratio < 1:
        raise ArgumentError(f"ratio is {ratio}", hint="the share of entries to drop, from 0 to below 1")
