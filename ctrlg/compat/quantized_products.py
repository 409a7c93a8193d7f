"""Norm-Q's experiments with quantized matrix products (`ctrlg.mytest` there), operands in [0, 1] rounded up to b bits.

Norm-Q's decoder did not use them in the end: its calls are commented out. `ctrlg.quantization.baselines.integer` is the
method they led to, as it can be compared with the others (docs/methods.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctrlg.compat.log_products import log_product


def asymq(t: Tensor, qmin: float, qmax: float) -> tuple[Tensor, Tensor]:
    """Scale and zero point that map [min, max] of `t` onto [qmin, qmax]: q = round(t / scale) + zero_point.

    Args:
        t: any numbers.
        qmin: least code.
        qmax: largest code.
    """
    smallest = t.min()
    scale = (t.max() - smallest) / (qmax - qmin)
    return scale, qmin - torch.round(smallest / scale)


def symq(t: Tensor, qmax: float, ratio: float = 1) -> tuple[Tensor, int]:
    """Scale that maps the largest absolute value of `t` onto qmax; the zero point is 0.

    Args:
        t: any numbers.
        qmax: largest code.
        ratio: unused, as in Norm-Q.
    """
    return t.abs().max() / qmax, 0


def q_matmul(A: Tensor, B: Tensor, b: int = 16) -> Tensor:
    """A @ B with entries on [0, 1] rounded up to multiples of 1 / (2^b - 1)."""
    step = 1 / (2**b - 1)
    return (_codes(A, b) @ _codes(B, b)).mul_(step * step)


def q_matmul_log(A: Tensor, B: Tensor, b: int = 16) -> Tensor:
    """log(exp(A) @ exp(B)), quantized after the largest entries are divided out."""
    return log_product(A, B, lambda x, y: q_matmul(x, y, b), log_a=True, log_b=True)


def q_matmul_loga_b(A: Tensor, B: Tensor, b: int = 16) -> Tensor:
    """log(exp(A) @ B), quantized after the largest entries are divided out."""
    return log_product(A, B, lambda x, y: q_matmul(x, y, b), log_a=True, log_b=False)


def q_matmul_a_logb(A: Tensor, B: Tensor, b: int = 16) -> Tensor:
    """log(A @ exp(B)), quantized after the largest entries are divided out."""
    return log_product(A, B, lambda x, y: q_matmul(x, y, b), log_a=False, log_b=True)


class _test_matmul_log:
    """A product on a reciprocal scale, r - 1/x with r = 2^bit_width, less its mean error.

    count: products so far. sum_zero_point_A: their mean errors, summed.
    """

    bit_width = 12
    count = 0
    sum_zero_point_A: Tensor | float = 0.0

    @staticmethod
    def matmul_log(A: Tensor, B: Tensor) -> Tensor:
        """About log(exp(A) @ exp(B)). The counters of the class go on."""
        return log_product(A, B, _test_matmul_log._product, log_a=True, log_b=True)

    @classmethod
    def _product(cls, A: Tensor, B: Tensor) -> Tensor:
        levels = 2**cls.bit_width
        reciprocal_a, reciprocal_b = ((levels - x.reciprocal()).ceil().clamp(0, levels - 1) for x in (A, B))
        codes = reciprocal_a @ reciprocal_b
        zero_point = (codes - (A @ B).reciprocal()).mean()
        cls.count += 1
        cls.sum_zero_point_A = cls.sum_zero_point_A + zero_point
        return (codes - zero_point).reciprocal_()


def _codes(x: Tensor, b: int) -> Tensor:
    # Divided by the step, not multiplied by its reciprocal: entries on the grid round to themselves as in Norm-Q.
    return (x / (1 / (2**b - 1))).ceil().clamp_(0, 2**b - 1)
