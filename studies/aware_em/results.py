"""Results of the interval study: a file of JSON lines that an interrupted study goes on from, and its figure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ctrlg.errors import DataError
from ctrlg.figures import DARK, MIDDLE, new_figure
from ctrlg.files.atomic import append_line, read_lines
from ctrlg.files.records import StudyLines
from studies.aware_em.intervals import StudyResult, StudyRun
from studies.shared import Line

Results = dict[StudyRun, StudyResult]


class IntervalLines(StudyLines):
    """Lines of a file whose first line says the settings that all its runs share.

    Such a line is {"run": ..., "result": ..., "seconds": ...}; here, what it holds stands side by side. Raises as
    `StudyLines`, and DataError for a file of other settings.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        super().__init__(path, StudyRun._fields)

    def _read(self) -> list[dict[str, Any]]:
        if not read_lines(self.path, "settings"):
            append_line(self.path, {"settings": self._settings})
        theirs, lines = read_results(self.path)
        if theirs != self._settings:
            names = [name for name in self._settings if theirs.get(name) != self._settings[name]]
            raise DataError(
                f"{self.path} holds a study with another {', '.join(names)}",
                hint="give the same settings to go on, or another --output",
            )
        return lines

    def _write(self, line: Mapping[str, Any]) -> None:
        run, result = ({name: line[name] for name in part._fields} for part in (StudyRun, StudyResult))
        append_line(self.path, {"run": run, "result": result, "seconds": line["seconds"]})


def read_results(path: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The settings of a file, and its lines as `IntervalLines` has them; half a line does not count.

    Raises DataError for a file of another kind.
    """
    try:
        first, *others = read_lines(path, "settings")
        lines = [{**line["run"], **line["result"], "seconds": line["seconds"]} for line in others]
        results_of(lines)
        return first["settings"], lines
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no results of this study: {error}", hint="choose another --output") from error


def results_of(lines: Iterable[Line]) -> Results:
    """What each run came to."""
    return {
        StudyRun(*(line[name] for name in StudyRun._fields)): StudyResult(*(line[name] for name in StudyResult._fields))
        for line in lines
    }


def plot_study(results: Results) -> Any:
    """Likelihood against interval, a row of panels per method and variant, a column per number of bits.

    Points are means over seeds, bars their standard deviations. Raises DataError where there is no result.
    """
    if not results:
        raise DataError("the study has no result yet", hint="run it first")
    rows = list(dict.fromkeys((run.method, run.variant) for run in results))
    columns = sorted({run.bits for run in results})
    figure = new_figure(3.6 * len(columns) + 0.8, 2.9 * len(rows) + 1.0)
    panels = figure.subplots(len(rows), len(columns), sharey="row", squeeze=False)
    for (method, variant), line in zip(rows, panels, strict=True):
        for bits, axes in zip(columns, line, strict=True):
            cell = {run: value for run, value in results.items() if run[:2] == (method, bits) and run[3] == variant}
            _panel(axes, cell)
            axes.set_title(f"{method}{'' if variant == 'plain' else f', {variant}'}, {bits} bits", fontsize=10)
        line[0].set_ylabel("log-likelihood\n(nats per token)")
    for axes in panels[-1]:
        axes.set_xlabel("EM steps between quantisations")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(_finding(results), fontsize=11)
    return figure


def _panel(axes: Any, cell: Results) -> None:
    intervals = _intervals(cell)
    for name, color, style in (("train", MIDDLE, "s--"), ("test", DARK, "o-")):
        seeds = [
            [getattr(value, f"{name}_after") for run, value in cell.items() if run.interval == i] for i in intervals
        ]
        axes.errorbar(
            range(len(intervals)),
            [statistics.mean(values) for values in seeds],
            yerr=[statistics.pstdev(values) for values in seeds],
            fmt=style,
            color=color,
            markersize=4,
            capsize=3,
            label=f"{name}, quantised",
        )
        unquantised = [getattr(value, f"{name}_before") for run, value in cell.items() if run.interval is None]
        if unquantised:
            axes.axhline(
                statistics.mean(unquantised),
                color=color,
                linestyle=":" if name == "train" else "-.",
                linewidth=1,
                label=f"{name}, float model",
            )
    axes.set_xticks(range(len(intervals)), ["only at\nthe end" if i is None else str(i) for i in intervals])


def _intervals(cell: Results) -> list[int | None]:
    numbers = sorted({run.interval for run in cell if run.interval is not None})
    return [*numbers, *([None] if any(run.interval is None for run in cell) else [])]


def _finding(results: Results) -> str:
    """For every method: the best interval's test likelihood against that of quantising afterwards."""
    lines: dict[str, list[str]] = {}
    for method, bits, variant in dict.fromkeys((run.method, run.bits, run.variant) for run in results):
        cell = {
            run: value
            for run, value in results.items()
            if (run.method, run.bits, run.variant) == (method, bits, variant)
        }
        means = {
            interval: statistics.mean(value.test_after for run, value in cell.items() if run.interval == interval)
            for interval in _intervals(cell)
        }
        afterwards = means.pop(None, None)
        if afterwards is None or not means:
            continue
        best = max(means, key=lambda interval: means[interval])
        name = method if variant == "plain" else f"{method}, {variant}"
        lines.setdefault(name, []).append(f"{means[best] - afterwards:+.3f} at {bits} bits (every {best})")
    gains = "\n".join(f"{name}: {', '.join(parts)}" for name, parts in lines.items())
    return f"Gain of the best interval over quantising afterwards, test nats per token\n{gains}"
