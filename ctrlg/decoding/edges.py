"""Sums and products over rows of look-ahead tables: compiled loops on the CPU, torch on any other device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ctrlg.decoding.scaled import ScaledRows

TORCH_BLOCK_BYTES = 1 << 28  # memory for the edges that one torch step gathers at a time
SMALLEST_PRODUCT = 1e-30  # products below are not scaled up to 1, so that no factor leaves float32


def add_edges_(
    out: Tensor,
    start: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    mass: np.ndarray,
    masses: Tensor,
    values: Tensor,
) -> None:
    """out[i] += sum over e in start[i] .. start[i + 1] of weight[e] * masses[mass[e]] * values[target[e]].

    out float32 [n, H]; start int64 [n + 1]; target, mass int32 [E]; weight float32 [E]; masses float32 [M,
    H]; values float32 [m, H].
    """
    if out.device.type == "cpu":
        from ctrlg.decoding import _kernels

        _kernels.add_edges(start, target, weight, mass, masses.numpy(), values.numpy(), out.numpy())
        return
    source = np.repeat(np.arange(len(start) - 1), np.diff(start))
    block = max(1, TORCH_BLOCK_BYTES // (4 * max(1, out.shape[1])))
    for first in range(0, len(target), block):
        part = slice(first, first + block)
        rows = masses[_index(mass[part], out)] * values[_index(target[part], out)]
        rows *= torch.from_numpy(weight[part]).to(out.device)[:, None]
        out.index_add_(0, _index(source[part], out), rows)


def pair_rows(
    left: Tensor, left_row: np.ndarray, right: ScaledRows, right_row: np.ndarray
) -> tuple[Tensor, np.ndarray]:
    """Products left[left_row[r]] * right[right_row[r]], each row of `left` with one scale common to its
    products.

    left: float32 [U, H], not negative. left_row, right_row: int64 [R].
    Returns float32 [R, H] and float64 [U]: the product is `rows[r] * exp(scale[left_row[r]])`; the scale
    brings the largest number of all rows that belong to one row of `left` to 1, and is -inf where none of
    them is above 0.
    """
    rows, largest = _products(left, left_row, right.values, right_row)
    with np.errstate(divide="ignore"):
        largest = np.where(largest > 0, np.maximum(largest.astype(np.float64), SMALLEST_PRODUCT), 0)
        log_largest = np.log(largest) + right.log_scale[right_row]
    scale = np.full(len(left), -np.inf)
    np.maximum.at(scale, left_row, log_largest)
    with np.errstate(invalid="ignore"):
        factor = np.exp(right.log_scale[right_row] - scale[left_row])
    factor = np.nan_to_num(factor, nan=0.0, posinf=0.0).astype(np.float32)
    if left.device.type == "cpu":
        from ctrlg.decoding import _kernels

        _kernels.scale_rows(rows.numpy(), factor)
    else:
        rows *= torch.from_numpy(factor).to(left.device)[:, None]
    return rows, scale


def _products(
    left: Tensor, left_row: np.ndarray, right: Tensor, right_row: np.ndarray
) -> tuple[Tensor, np.ndarray]:
    if left.device.type == "cpu":
        from ctrlg.decoding import _kernels

        rows = torch.empty(len(left_row), left.shape[1])
        largest = np.empty(len(left_row), dtype=np.float32)
        _kernels.multiply_rows(left.numpy(), right.numpy(), left_row, right_row, rows.numpy(), largest)
        return rows, largest
    rows = left[_index(left_row, left)] * right[_index(right_row, left)]
    return rows, rows.amax(dim=1).cpu().numpy() if len(rows) else np.empty(0, dtype=np.float32)


def _index(numbers: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(numbers.astype(np.int64)).to(like.device)
