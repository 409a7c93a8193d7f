"""A grid is gone through once, the best of it is kept, and a stopped search goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.decoders import VOCABULARY, decoder

from ctrlg.errors import ArgumentError
from normtweaking import CalibrationData, ModelTweaker, RoundToNearest, TweakResult, TweakSettings
from normtweaking.grid import Grid, grid_search, table_of

SETTINGS = TweakSettings(batch_size=2)
TEXTS = CalibrationData(torch.randint(2, VOCABULARY, (6, 8), generator=torch.Generator().manual_seed(0)))
GRID = Grid([1e-3, 1e-4], [0.0, 2.0])


class Interrupted(Exception):
    """Stands for whatever ends a search early."""


def test_a_stopped_search_goes_on_and_keeps_the_best(tmp_path: Path) -> None:
    made: list[TweakSettings] = []
    kept: list[float] = []

    def make(settings: TweakSettings) -> ModelTweaker:
        if len(made) == 2:
            made.append(settings)
            raise Interrupted
        made.append(settings)
        return ModelTweaker(decoder(), RoundToNearest(3), settings)

    def keep(tweaker: ModelTweaker, result: TweakResult) -> None:
        kept.append(result.score_tweaked)

    def search(run: str = "a") -> list[float]:
        data = TEXTS.split(2)
        points = grid_search(make, *data, SETTINGS, GRID, tmp_path / "grid.jsonl", run, keep)
        assert {point[:2] for point in points} == {(rate, scale) for rate in GRID[0] for scale in GRID[1]}
        return [point.score_tweaked for point in points]

    with pytest.raises(Interrupted):
        search()
    scores = search()
    assert len(made) == 5  # the two that were done were not done again
    assert made[3] == replace(SETTINGS, learning_rate=1e-4, scale=0.0)
    assert scores == sorted(scores)
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] == scores[0]
    assert search() == scores
    assert len(made) == 5
    search("b")
    assert len(made) == 9


def test_a_grid_without_points_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no points"):
        grid_search(
            lambda settings: ModelTweaker(decoder(), RoundToNearest(3), settings),
            *TEXTS.split(2),
            SETTINGS,
            Grid([], [1.0]),
            tmp_path / "grid.jsonl",
            "a",
            lambda tweaker, result: None,
        )


def test_the_perplexity_of_a_text_chooses(tmp_path: Path) -> None:
    """The untweaked model is a point, the divergence decides nothing, and scales of no learning rate are one point."""
    measured = iter([30.0, 20.0, 25.0])
    kept: list[tuple[float, float]] = []

    def search(grid: Grid, settings: TweakSettings = SETTINGS) -> list[tuple[float, float, float | None]]:
        points = grid_search(
            lambda settings: ModelTweaker(decoder(), RoundToNearest(3), settings),
            *TEXTS.split(2),
            settings,
            grid,
            tmp_path / "grid.jsonl",
            str(settings.keep_better),
            lambda tweaker, result: kept.append((tweaker.settings.learning_rate, tweaker.settings.scale)),
            perplexity=lambda model: next(measured),
        )
        return [(point.learning_rate, point.scale, point.perplexity) for point in points]

    expected = [(2.0, 0.0, 20.0), (2.0, 1.0, 25.0), (0.0, 0.0, 30.0)]
    assert search(Grid([2.0, 0.0], [0.0, 1.0])) == expected  # a rate that ruins the model, by the divergence
    assert kept == [(0.0, 0.0), (2.0, 0.0)]
    assert search(Grid([2.0], [0.0, 1.0])) == expected  # nothing is measured again
    measured = iter([9.0])
    assert search(Grid([1e-3], [2.0]), replace(SETTINGS, keep_better=False)) == [(1e-3, 2.0, 9.0)]


def test_no_learning_rate_is_the_quantised_model(tmp_path: Path) -> None:
    [point] = grid_search(
        lambda settings: ModelTweaker(decoder(), RoundToNearest(3), settings),
        *TEXTS.split(2),
        SETTINGS,
        Grid([0.0], [1.0, 2.0]),
        tmp_path / "grid.jsonl",
        "a",
        lambda tweaker, result: None,
    )
    assert point.score_tweaked == point.score_quantized
    assert point.perplexity is None
    lines = table_of([point])
    assert lines[0].split() == ["lr", "scale", "KL"]
    assert lines[1].split()[:2] == ["0", "1"]
