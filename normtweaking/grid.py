"""Grid search over learning rates and scales, by a held-out score; what is done is not done again.

Every point is a line of a file of JSON lines; the caller keeps the best model so far. The score is the KL divergence
from the float model's next-token distribution on texts that are not tweaked on (and are not a test set either).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.arguments import NonNegative, checked
from ctrlg.errors import ArgumentError
from ctrlg.studies import StudyLines
from normtweaking.calibration import CalibrationData
from normtweaking.settings import LayerTweak, TweakResult, TweakSettings
from normtweaking.tweaker import NormTweaker

COLUMNS = ("run", "learning_rate", "scale")
Report = Callable[[LayerTweak], None]
Passed = Callable[[int, float | None], None]


class GridPoint(NamedTuple):
    """A learning rate and a scale, and the scores of the model that they gave, nats per token."""

    learning_rate: float
    scale: float
    score_quantized: float
    score_tweaked: float


class Grid(NamedTuple):
    """What to try. Both at least one number."""

    learning_rates: Sequence[float]
    scales: Sequence[float]


@checked
def grid_of(learning_rates: Sequence[NonNegative], scales: Sequence[NonNegative]) -> Grid:
    """The grid of these numbers, either of which may be none yet. Raises ArgumentError for others than 0 and above."""
    return Grid(tuple(learning_rates), tuple(scales))


def grid_search(
    make: Callable[[TweakSettings], NormTweaker],
    calibration: CalibrationData,
    held_out: CalibrationData,
    settings: TweakSettings,
    grid: Grid,
    results: str | Path,
    run: str,
    keep: Callable[[NormTweaker, TweakResult], Any],
    report: Report = lambda layer: None,
    passed: Passed = lambda number, found: None,
) -> list[GridPoint]:
    """All points of the grid, best first.

    make: a tweaker of these settings with the float model, anew each time. results: file of JSON lines. run: names what
    the points have in common (model, quantizer, calibration, other settings); lines of other runs are not looked at.
    keep: called with every tweaker that is better than all before it, in this and in earlier calls. report, passed: as
        for `NormTweaker.run`.
    Raises ArgumentError for an empty grid and where another process writes `results`, DataError where `results` is
    another study's file, and as `NormTweaker.run`.
    """
    if not grid.learning_rates or not grid.scales:
        raise ArgumentError("the grid has no points", hint="give at least one learning rate and one scale")
    wanted = [replace(settings, learning_rate=rate, scale=scale) for rate, scale in product(*grid)]
    with StudyLines(results, COLUMNS) as lines:
        for point in wanted:
            key = (run, point.learning_rate, point.scale)
            if key in lines:
                continue
            tweaker = make(point)
            result = tweaker.run(calibration, held_out, report, passed)
            best = min((other.score_tweaked for other in _points(lines, run)), default=float("inf"))
            if result.score_tweaked < best:
                keep(tweaker, result)  # before the line, so that a line always has its model
            lines.add(key, {"score_quantized": result.score_quantized, "score_tweaked": result.score_tweaked})
    chosen = {(point.learning_rate, point.scale) for point in wanted}
    points = [point for point in _points(lines, run) if point[:2] in chosen]
    return sorted(points, key=lambda point: point.score_tweaked)


def _points(lines: StudyLines, run: str) -> list[GridPoint]:
    return [GridPoint(*(line[name] for name in GridPoint._fields)) for line in lines.lines if line["run"] == run]
