"""Next-token scores of a matrix of floats on a GPU: torch tensors in and out, the work in Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.kernels import kernels_interpreted
from ctrlg.kernels.gpu import products
from ctrlg.kernels.gpu.sums import launcher
from ctrlg.kernels.reference import LARGEST_LOGIT
from ctrlg.kernels.scoring import HEADROOM
from ctrlg.kernels.token_classes import TILE, TokenClasses

LEAST_LANES, MOST_LANES = 16, 64
"""Sequences of a program: what tensor cores need, and what its registers hold."""

STATES_BYTES = 128
"""Of each row of a tile of weights that a program multiplies at a time."""

WARPS, STAGES = 8, 3


def add_paired_scores(
    p: Tensor,
    logits: Tensor,
    predictive: Tensor,
    rows: Tensor,
    row_of: Tensor,
    offset: Tensor,
    classes: TokenClasses,
) -> tuple[Tensor, Tensor]:
    """As `ctrlg.kernels.reference.add_paired_scores`, for `p` [H, N].

    Products are of the type of `p`, those of float32 in TF32; sums are float32.
    """
    lanes, (states, columns) = len(predictive), p.shape
    out = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
    if not lanes or not row_of.shape[1]:
        return out, out.new_full((lanes,), -torch.inf)
    tokens, class_of_tile = classes.tiles
    # The least power of two that holds the batch, within what tensor cores and registers allow.
    width = max(LEAST_LANES, min(MOST_LANES, 1 << (lanes - 1).bit_length()))
    peaks = out.new_empty(len(tokens), lanes)
    masses = torch.empty_like(peaks)
    # Before rounding to the type of p: bfloat16 has the exponents of float32, so 2^60 costs no precision.
    x = (predictive * HEADROOM).to(p.dtype).contiguous()
    # Blocks of sequences are the fast index of the grid: those of one tile of p run at about the same time, and all but
    # the first find it in the cache.
    launcher(products.dense_scores, -(-lanes // width), len(tokens))(
        tokens, class_of_tile, row_of.int().T.contiguous(), p, x, rows.to(p.dtype).contiguous(),
        offset.float().T.contiguous(), logits.contiguous(), out, peaks, masses, columns, lanes, LARGEST_LOGIT,
        states=states, PRECISION="tf32", TILE=TILE, LANES=width, STATES=STATES_BYTES // p.element_size(),
        UPCAST=kernels_interpreted(),
        num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip
    return out, (peaks + masses.log()).logsumexp(dim=0)
