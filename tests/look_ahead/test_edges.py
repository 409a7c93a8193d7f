from __future__ import annotations

import numpy as np
import torch

from ctrlg.look_ahead import edges
from ctrlg.look_ahead.scaled import ScaledRows, rescale_


def random_edges(sources: int, targets: int, masses: int, seed: int) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 5, sources)
    start = np.append(0, np.cumsum(counts))
    total = int(start[-1])
    return (
        start,
        generator.integers(0, targets, total).astype(np.int32),
        generator.random(total).astype(np.float32),
        generator.integers(0, masses, total).astype(np.int32),
    )


def test_edge_sums_are_the_same_compiled_in_torch_and_by_definition() -> None:
    start, target, weight, mass = random_edges(9, 7, 4, seed=1)
    masses, values = torch.rand(4, 1300), torch.rand(7, 1300)
    compiled, plain = torch.ones(9, 1300), torch.ones(9, 1300)
    edges.add_edges_(compiled, start, target, weight, mass, masses, values)
    edges.add_edges_in_torch_(plain, start, target, weight, mass, masses, values)
    expected = torch.ones(9, 1300, dtype=torch.float64)
    for i in range(9):
        for e in range(start[i], start[i + 1]):
            expected[i] += float(weight[e]) * masses[mass[e]].double() * values[target[e]].double()
    torch.testing.assert_close(compiled, expected.float())
    torch.testing.assert_close(plain, expected.float())


def test_products_are_the_same_compiled_and_in_torch() -> None:
    left, right = torch.rand(3, 700), torch.rand(5, 700)
    left_row, right_row = np.array([0, 0, 2, 1]), np.array([4, 1, 1, 0], dtype=np.int32)
    factor = np.array([1, 0.5, 2, 0], dtype=np.float32)
    rows, largest = edges._products(left, left_row, right, right_row, factor)
    plain, largest_plain = edges.products_in_torch(left, left_row, right, right_row, factor)
    torch.testing.assert_close(rows, plain)
    np.testing.assert_allclose(largest, largest_plain, rtol=1e-6)
    torch.testing.assert_close(rows[1], 0.5 * left[0] * right[1])


def test_tiny_products_keep_their_scale() -> None:
    left = torch.tensor([[1.0, 1e-25], [0.5, 0.5], [0.0, 1.0]])
    right = ScaledRows(torch.tensor([[1e-20, 1.0], [1.0, 0.0]]), np.array([-300.0, -310.0]))
    left_row, right_row = np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1])
    rows, scale = edges.pair_rows(left, left_row, right, right_row)
    assert rows.max() <= 1 and rows[0].max() > 1e-12
    with np.errstate(divide="ignore"):
        found = np.log(rows.double().numpy()) + scale[left_row][:, None]
        expected = (
            np.log(left[left_row].double().numpy())
            + np.log(right.values[right_row].double().numpy())
            + right.log_scale[right_row][:, None]
        )
    np.testing.assert_allclose(found[:3], expected[:3], atol=1e-4)
    assert np.isneginf(scale[2])


def test_rescaled_rows_mean_the_same() -> None:
    values = torch.tensor([[1e-30, 4e-30], [0.0, 0.0], [2.0, 1.0]])
    rows = rescale_(values.clone(), np.array([-5.0, 1.0, 0.0]))
    np.testing.assert_allclose(rows.values.numpy(), [[0.25, 1], [0, 0], [1, 0.5]])
    np.testing.assert_allclose(rows.log_scale, [np.log(4e-30) - 5, -np.inf, np.log(2)], rtol=1e-6)
