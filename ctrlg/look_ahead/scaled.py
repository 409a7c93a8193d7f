"""Rows of non-negative numbers too small for float32: `values * exp(log_scale)`, the largest value of a row
being 1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class ScaledRows(NamedTuple):
    """Rows `values * exp(log_scale)`.

    Attributes:
        values: float32 [n, H], the largest of each row 1 (or the row is 0).
        log_scale: float64 [n]; -inf where the row is 0.
    """

    values: Tensor
    log_scale: np.ndarray


def rescale_(values: Tensor, log_scale: np.ndarray) -> ScaledRows:
    """The same rows with their largest value moved into the scale. `values` [n, H] is changed in place."""
    # A row of zeros is divided by 1, and its scale becomes log 0 = -inf.
    largest = values.amax(dim=1) if values.shape[1] else values.new_zeros(len(values))
    values.div_(torch.where(largest > 0, largest, 1)[:, None])
    with np.errstate(divide="ignore"):
        return ScaledRows(values, log_scale + np.log(largest.cpu().numpy().astype(np.float64)))
