"""Sums and products over rows of look-ahead tables: compiled loops on the CPU, torch on any other device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctrlg.look_ahead.scaled import ScaledRows

TORCH_BLOCK_BYTES = 1 << 28  # memory for the edges that one torch step gathers at a time
SMALL_PRODUCT = 1e-12  # products are lifted towards 1 where the largest of a sequence is below this
SMALLEST_LIFTED = 1e-30  # and only as far as float32 reaches


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

    Args:
        out: float32 [n, H], changed in place.
        start: int64 [n + 1].
        target: int32 [E].
        weight: float32 [E].
        mass: int32 [E].
        masses: float32 [M, H].
        values: float32 [m, H].
    """
    if out.device.type == "cpu":
        from ctrlg.kernels import threads
        from ctrlg.look_ahead import edge_loops as _kernels

        arrays = (start, target, weight, mass, masses.numpy(), values.numpy(), out.numpy())
        threads.run(_kernels.add_edges, len(target) * out.shape[1], *arrays)
    else:
        add_edges_in_torch_(out, start, target, weight, mass, masses, values)


def add_edges_in_torch_(
    out: Tensor,
    start: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    mass: np.ndarray,
    masses: Tensor,
    values: Tensor,
) -> None:
    """`add_edges_` on any device."""
    source = np.repeat(np.arange(len(start) - 1), np.diff(start))
    block = max(1, TORCH_BLOCK_BYTES // (4 * max(1, out.shape[1])))
    for first in range(0, len(target), block):
        part = slice(first, first + block)
        # Both gathers and their product are [block, H] float32, TORCH_BLOCK_BYTES each.
        rows = masses[_index(mass[part], out)] * values[_index(target[part], out)]
        rows *= torch.from_numpy(weight[part]).to(out.device)[:, None]
        out.index_add_(0, _index(source[part], out), rows)


def pair_rows(
    left: Tensor, left_row: np.ndarray, right: ScaledRows, right_row: np.ndarray
) -> tuple[Tensor, np.ndarray]:
    """Products left[left_row[r]] * right[right_row[r]], with one scale for all products of one row of `left`.

    Args:
        left: float32 [U, H], not negative.
        left_row: int64 [R].
        right: scaled rows [m, H].
        right_row: int64 [R].

    Returns:
        Rows float32 [R, H] and scale float64 [U]: the product is `rows[r] * exp(scale[left_row[r]])`. The scale is -inf
        where a row of `left` has no product above 0.
    """
    # Scores of one sequence are compared with each other, so its products share one scale: the largest of the rows of
    # `right` it uses. Factors are then at most 1.
    scale, factor = _loops().shared_scales(right.log_scale, right_row, left_row, len(left))
    rows, largest = _products(left, left_row, right.values, right_row, factor)
    # Factors may still be 1 and all products tiny, where left and right are large in different hidden states. A second
    # factor lifts them out of the reach of denormals.
    top = _loops().largest_of(left_row, largest, len(left))
    small = (top > 0) & (top < SMALL_PRODUCT)
    if small.any():
        lift = 1 / np.where(small, np.maximum(top, SMALLEST_LIFTED), 1.0)
        rows *= torch.from_numpy(lift[left_row].astype(np.float32)).to(rows.device)[:, None]
        scale -= np.log(lift)
    # Nothing is above 0: whatever the scale was, the logarithm is -inf.
    scale[top == 0] = -np.inf
    return rows, scale


def _loops() -> Any:
    from ctrlg.look_ahead import edge_loops

    return edge_loops


def _products(
    left: Tensor, left_row: np.ndarray, right: Tensor, right_row: np.ndarray, factor: np.ndarray
) -> tuple[Tensor, np.ndarray]:
    """left[left_row] * right[right_row] * factor, [R, H], and the largest entry of each row, [R]."""
    if left.device.type != "cpu":
        return products_in_torch(left, left_row, right, right_row, factor)
    from ctrlg.kernels import threads
    from ctrlg.look_ahead import edge_loops as _kernels

    rows = torch.empty(len(left_row), left.shape[1], dtype=torch.float32)
    largest = np.empty(len(left_row), dtype=np.float32)
    arrays = (left.numpy(), left_row, right.numpy(), right_row, factor, rows.numpy(), largest)
    threads.run(_kernels.multiply_rows, rows.numel(), *arrays)
    return rows, largest


def products_in_torch(
    left: Tensor, left_row: np.ndarray, right: Tensor, right_row: np.ndarray, factor: np.ndarray
) -> tuple[Tensor, np.ndarray]:
    """The products of `pair_rows` on any device."""
    rows = left[_index(left_row, left)] * right[_index(right_row, left)]
    rows *= torch.from_numpy(factor).to(left.device)[:, None]
    return rows, rows.amax(dim=1).cpu().numpy() if len(rows) else np.empty(0, dtype=np.float32)


def _index(numbers: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(numbers.astype(np.int64)).to(like.device)
