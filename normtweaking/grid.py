"""Grid search over learning rates and scales; what is done is not done again.

Every point is a line of a file of JSON lines; the caller keeps the best model so far. Points are compared by the
perplexity of a text where one is given, else by the KL divergence from the float model's next-token distribution on
texts that are not tweaked on. A learning rate of 0 is the quantised model without tweaking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.arguments import NonNegative, checked
from ctrlg.errors import ArgumentError
from ctrlg.files.records import StudyLines
from normtweaking.texts.calibration import CalibrationData
from normtweaking.tweaking.settings import LayerTweak, TweakResult, TweakSettings
from normtweaking.tweaking.tweaker import ModelTweaker

COLUMNS = ("run", "learning_rate", "scale")
Report = Callable[[LayerTweak], None]
Passed = Callable[[int, float | None], None]


class GridPoint(NamedTuple):
    """A learning rate and a scale, and the model that they gave.

    Attributes:
        learning_rate: Adam's, in the first layer.
        scale: see `TweakSettings`.
        score_quantized: as in `TweakResult`.
        score_tweaked: as in `TweakResult`.
        perplexity: of the tweaked model; None where not asked for.
    """

    learning_rate: float
    scale: float
    score_quantized: float
    score_tweaked: float
    perplexity: float | None = None

    @property
    def found(self) -> float:
        """What points are compared by: the less the better."""
        return self.score_tweaked if self.perplexity is None else self.perplexity


class Grid(NamedTuple):
    """What to try. Both at least one number.

    Attributes:
        learning_rates: Adam's, in the first layer.
        scales: see `TweakSettings`.
    """

    learning_rates: Sequence[float]
    scales: Sequence[float]

    def points(self, baseline: bool = False) -> list[tuple[float, float]]:
        """(learning rate, scale) of each point, once. Without a learning rate there is nothing to scale: one point.

        Args:
            baseline: begin with the learning rate 0, whether it is in the grid or not.
        """
        rates = [0.0, *self.learning_rates] if baseline else self.learning_rates
        points = ((rate, scale if rate else self.scales[0]) for rate, scale in product(rates, self.scales))
        return list(dict.fromkeys(points))


@checked
def grid_of(learning_rates: Sequence[NonNegative], scales: Sequence[NonNegative]) -> Grid:
    """The grid of these numbers, either of which may be none yet.

    Args:
        learning_rates: Adam's, in the first layer.
        scales: see `TweakSettings`.

    Raises:
        ArgumentError: numbers below 0.
    """
    return Grid(tuple(learning_rates), tuple(scales))


def grid_search(
    make: Callable[[TweakSettings], ModelTweaker],
    calibration: CalibrationData,
    held_out: CalibrationData,
    settings: TweakSettings,
    grid: Grid,
    results: str | Path,
    run: str,
    keep: Callable[[ModelTweaker, TweakResult], Any],
    report: Report = lambda layer: None,
    passed: Passed = lambda number, found: None,
    perplexity: Callable[[Any], float] | None = None,
) -> list[GridPoint]:
    """All points of the grid, best first.

    Args:
        make: a tweaker of these settings with the float model, anew each time.
        calibration: what norms are tweaked on.
        held_out: what they are judged by.
        settings: of all points, but for learning rate and scale.
        grid: learning rates and scales to try.
        results: file of JSON lines.
        run: names what the points have in common (model, quantizer, calibration, other settings); lines of other runs
            are not looked at.
        keep: called with every tweaker that is better than all before it, in this and in earlier calls.
        report: as for `ModelTweaker.run`.
        passed: as for `ModelTweaker.run`.
        perplexity: of a model. With it, `settings.keep_better` means that the untweaked model is a point of the grid,
            and the divergence decides nothing.

    Raises:
        ArgumentError: an empty grid, another process that writes `results`, and as `ModelTweaker.run`.
        DataError: `results` is another study's file.
    """
    if not grid.learning_rates or not grid.scales:
        raise ArgumentError("the grid has no points", hint="give at least one learning rate and one scale")
    baseline = perplexity is not None and settings.keep_better
    if baseline:
        settings = replace(settings, keep_better=False)
    wanted = [replace(settings, learning_rate=rate, scale=scale) for rate, scale in grid.points(baseline)]
    with StudyLines(results, COLUMNS) as lines:
        for point in wanted:
            key = (run, point.learning_rate, point.scale)
            if key in lines:
                continue
            tweaker = make(point)
            result = tweaker.run(calibration, held_out, report, passed)
            scores = (result.score_quantized, result.score_tweaked)
            measured = GridPoint(*key[1:], *scores, perplexity(tweaker.model) if perplexity else None)
            if measured.found < min((other.found for other in _points(lines, run)), default=float("inf")):
                keep(tweaker, result)  # before the line, so that a line always has its model
            values = {name: value for name, value in measured._asdict().items() if name not in COLUMNS}
            lines.add(key, {name: value for name, value in values.items() if value is not None})
    chosen = {(point.learning_rate, point.scale) for point in wanted}
    points = [point for point in _points(lines, run) if point[:2] in chosen]
    return sorted(points, key=lambda point: point.found)


def table_of(points: Sequence[GridPoint]) -> list[str]:
    """Lines that show the points of a grid, in columns under a head.

    Args:
        points: of `grid_search`.
    """
    kind = "KL" if any(point.perplexity is None for point in points) else "perplexity"
    rows = [f"{point.learning_rate:<12g} {point.scale:<8g} {point.found:.5f}" for point in points]
    return [f"{'lr':<12} {'scale':<8} {kind}", *rows]


def _points(lines: StudyLines, run: str) -> list[GridPoint]:
    return [
        GridPoint(**{name: line[name] for name in GridPoint._fields if name in line})
        for line in lines.lines
        if line["run"] == run
    ]
