"""Results of the interval study: a file of JSON lines that an interrupted study goes on from, and its figure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ctrlg.errors import DataError
from ctrlg.figures import DARK, MIDDLE, new_figure, save_figure
from ctrlg.files.atomic import append_line, read_lines
from ctrlg.files.disk import writable_file
from studies.aware_em.intervals import StudyResult, StudyRun

Results = dict[StudyRun, StudyResult]


def open_results(path: str | Path, settings: dict[str, Any]) -> Results:
    """Results so far of the study with these settings; its file is begun where there is none.

    A line that a killed process left half written does not count. Raises ArgumentError for a file that cannot be
    written, DataError for one of other settings, and one of another kind.
    """
    lines = read_lines(writable_file(path), "settings")
    if not lines:
        append_line(path, {"settings": settings})
        return {}
    try:
        first, *others = lines
        theirs = first["settings"]
        results = {StudyRun(**line["run"]): StudyResult(**line["result"]) for line in others}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no results of this study: {error}", hint="choose another --output") from error
    if theirs != settings:
        names = [name for name in settings if theirs.get(name) != settings[name]]
        raise DataError(
            f"{path} holds a study with another {', '.join(names)}",
            hint="give the same settings to go on, or another --output",
        )
    return results


def add_result(path: str | Path, run: StudyRun, result: StudyResult, seconds: float) -> None:
    """Add one line."""
    append_line(path, {"run": run._asdict(), "result": result._asdict(), "seconds": round(seconds, 1)})


def plot_study(results: Results, outputs: Sequence[str | Path], command: str = "") -> None:
    """Draw likelihood against interval, a row of panels per method and variant, a column per number of bits.

    outputs: .png or .svg. Points are means over seeds, bars their standard deviations. Raises DataError where
    there is no result.
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
            _draw(axes, cell)
            axes.set_title(f"{method}{'' if variant == 'plain' else f', {variant}'}, {bits} bits", fontsize=10)
        line[0].set_ylabel("log-likelihood\n(nats per token)")
    for axes in panels[-1]:
        axes.set_xlabel("EM steps between quantisations")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(_finding(results), fontsize=11)
    for output in outputs:
        save_figure(figure, output, command)


def _draw(axes: Any, cell: Results) -> None:
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
