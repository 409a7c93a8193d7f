"""Grids: read in order, checked, and written as they are read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ctrlg.errors import ArgumentError
from ctrlg.evaluation.grid import FLOAT, MASK_ONLY, Grid, Setting


def test_a_grid_is_read_in_order_each_setting_once() -> None:
    grid = Grid.parse(["norm-q:8,4", "float32", "norm-q:4"])
    assert list(grid) == [Setting("norm-q", 8), Setting("norm-q", 4), Setting(FLOAT, 32)]
    assert len(grid) == 3
    assert grid == Grid.parse("norm-q:8,4  float32")


@pytest.mark.parametrize("text", ["norm-q:8,4 float32 log-norm-q:2 norm-q:3 mask-only", "prune:32", ""])
def test_a_grid_is_written_as_it_is_read(text: str) -> None:
    assert str(Grid.parse(text)) == text


def test_a_product_leaves_out_bits_that_a_method_does_not_take() -> None:
    assert str(Grid.product(["norm-q", "k-means"], [9, 8])) == "norm-q:9,8 k-means:8"
    with pytest.raises(ArgumentError, match="bits is 9"):
        Grid.product(["k-means"], [8, 9])


def test_what_has_no_bits_ignores_them() -> None:
    assert list(Grid.of(MASK_ONLY, 8)) == [Setting(MASK_ONLY, 0)]
    assert list(Grid.of("norm-q", 8)) == [Setting("norm-q", 8)]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Grid.parse("nrm-q:8"), "nrm-q"),
        (lambda: Grid.parse("norm-q"), "names no bits"),
        (lambda: Grid.parse("norm-q:x"), "names no bits"),
        (lambda: Grid.parse("norm-q:17"), "bits is 17"),
        (lambda: Grid.parse("float32:8"), "float32"),
        (lambda: Grid.of("nrm-q", 8), "nrm-q"),
        (lambda: Grid((Setting("norm-q", 0),)), "bits is 0"),
        (lambda: Grid((Setting(FLOAT, 8),)), "float32"),
    ],
)
def test_wrong_grids_are_refused(made: Callable[[], Grid], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        made()
