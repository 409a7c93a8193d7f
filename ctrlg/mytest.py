"""Norm-Q's module of quantised products: `from ctrlg.mytest import *` gives its names, and `torch`."""

import torch

from ctrlg.compat import (
    asymq,
    concepts2cnf,
    q_matmul,
    q_matmul_a_logb,
    q_matmul_log,
    q_matmul_loga_b,
    symq,
)
from ctrlg.compat.quantized_products import _test_matmul_log

__all__ = [
    "_test_matmul_log",
    "asymq",
    "concepts2cnf",
    "q_matmul",
    "q_matmul_a_logb",
    "q_matmul_log",
    "q_matmul_loga_b",
    "symq",
    "torch",
]
