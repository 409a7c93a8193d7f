"""Rows of a matrix as codes: what every quantizer makes, and what a compressed matrix is arranged from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class QuantizedRows(NamedTuple):
    """Rows as codes: `p[h, v] ~ scale[h] * codebook[codes[h, v]] + background[h]`, code 0 meaning no entry.

    Attributes:
        codes: uint8 [H, N].
        codebook: float32 [2^b], increasing, codebook[0] = 0.
        scale: float32 [H].
        background: float32 [H].
    """

    codes: Tensor
    codebook: Tensor
    scale: Tensor
    background: Tensor

    def dense(self) -> Tensor:
        """The rows as probabilities, float32 [H, N]."""
        return self.codebook[self.codes.int()] * self.scale[:, None] + self.background[:, None]
