"""What `studies.fidelity.measures` has measured, as a table and as two figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ctrlg.errors import DataError
from ctrlg.evaluation.grid import MASK_ONLY
from ctrlg.evaluation.metrics.scores import Score, mean_score
from ctrlg.figures import DARK, LIGHT, MIDDLE, new_figure
from ctrlg.files.records import markdown_rows
from ctrlg.quantization.methods import METHODS
from studies.fidelity.measures import Point

PAPER = Point("norm-q", 8)
"""Whose point the paper (arXiv 2509.25439) has: bits times entries / 8 bytes, without entropy coding."""

_COLOURS, _STYLES, _MARKERS = (DARK, MIDDLE, LIGHT, "0.45"), ("-", "--", ":"), "osD^vPX<>hd"


class Summary(NamedTuple):
    """A point in numbers.

    bytes: of transition and emission on disk. likelihood: whether the rows are distributions, so that there is one.
    held_out_loss, kl_sequence, kl_error: nats per token, None without likelihood or where it is infinite.
    kl: nats per step, over the steps where it is finite; None where none is. infinite: share of the other steps.
    silent: share of steps in which the guide left no token. variation: total variation, over all steps.
    forbidden: what the float HMM's guidance gives to tokens that this one forbids, mean over all steps.
    keywords, steps: how many.
    """

    point: Point
    bytes: int
    likelihood: bool
    held_out_loss: float | None
    kl_sequence: float | None
    kl_error: float | None
    kl: Score | None
    infinite: float
    silent: float
    variation: Score
    forbidden: float
    keywords: int
    steps: int


def summaries(lines: Sequence[Mapping[str, Any]], keywords: Collection[str], seed: int = 0) -> list[Summary]:
    """Of every point that is measured on all these keywords, in order of methods; intervals by bootstrap over keywords.

    A mean of KL leaves infinite steps out: `infinite` says how many. Raises DataError where no point is there.
    """
    guidance: dict[Point, list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines:
        if line["part"] == "guidance" and line["keyword"] in keywords:
            guidance[_point(line)].append(line)
    rates = {_point(line): line for line in lines if line["part"] == "rate"}
    whole = [point for point in rates if len(guidance[point]) == len(keywords)]
    if not whole:
        raise DataError(f"no point is measured on all {len(keywords)} keywords", hint="lines of studies.fidelity.study")
    return [_summary(point, rates[point], guidance[point], seed) for point in sorted(whole, key=_place)]


def _place(point: Point) -> tuple[int, float, int]:
    """The mask alone first, then as in the registry; thresholds after the default one; most bits first."""
    order = [MASK_ONLY, *METHODS].index(point.method)
    return order, -1.0 if point.threshold is None else point.threshold, -point.bits


def _point(line: Mapping[str, Any]) -> Point:
    return Point(line["method"], line["bits"], line["threshold"])


def _summary(point: Point, rate: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], seed: int) -> Summary:
    lines = sorted(
        lines, key=lambda line: line["keyword"]
    )  # so that equal seeds sample the same keywords for all points
    kl = [(value, number) for number, line in enumerate(lines) for value in line["kl"]]
    finite = [(value, number) for value, number in kl if value is not None]
    variation = [(value, number) for number, line in enumerate(lines) for value in line["variation"]]
    return Summary(
        point,
        rate["bytes"],
        rate["likelihood"],
        rate["held_out_loss"],
        rate["kl_sequence"],
        rate["kl_error"],
        _mean(finite, seed) if finite else None,
        1 - len(finite) / len(kl),
        sum(line["silent"] for line in lines) / len(kl),
        _mean(variation, seed),
        sum(sum(line["forbidden"]) for line in lines) / len(kl),
        len(lines),
        len(kl),
    )


def _mean(values: Sequence[tuple[float, int]], seed: int) -> Score:
    """Of values with the number of the text that each is of."""
    return mean_score([value for value, _ in values], [number for _, number in values], seed=seed)


def table(rows: Sequence[Summary]) -> str:
    """Markdown: "-" where there is no likelihood, "∞" where a sequence of it is impossible or all steps are."""
    cells: list[list[object]] = [
        [
            "method",
            "bits",
            "MB on disk",
            "held-out loss (nats/token)",
            "KLseq (nats/token)",
            "guidance KL (nats/step)",
            "steps with infinite KL",
            "mass forbidden",
            "silent",
            "total variation",
        ]
    ]
    for row in rows:
        infinite = "∞" if row.likelihood else "-"
        held_out = infinite if row.held_out_loss is None else f"{row.held_out_loss:.4f}"
        sampled = infinite if row.kl_sequence is None else f"{row.kl_sequence:.4f} ± {row.kl_error:.4f}"
        kl = "∞" if row.kl is None else "{:.2g} ({:.2g} to {:.2g})".format(*row.kl)
        shares = [f"{100 * share:.1f} %" for share in (row.infinite, row.forbidden, row.silent)]
        cells.append(
            [name(row.point), row.point.bits, f"{row.bytes / 1e6:,.3f}", held_out, sampled, kl, *shares, row.variation]
        )
    return markdown_rows(cells)


def name(point: Point) -> str:
    """ "log-norm-q, threshold 1e-08", "norm-q"."""
    return point.method if point.threshold is None else f"{point.method}, threshold {point.threshold:g}"


def plot_rate_distortion(rows: Sequence[Summary], entries: int, title: str) -> Any:
    """Nats lost per token against megabytes, on held-out text and on the float HMM's samples.

    entries: of transition and emission, for the sizes of the float HMM and the paper's.
    """
    figure = new_figure(11, 5)
    panels: dict[str, Callable[[Summary], float | None]] = {
        "lost on held-out text (nats per token)": lambda row: row.held_out_loss,
        "KLseq, on the float HMM's samples (nats per token)": lambda row: row.kl_sequence,
    }
    for axes, (label, value) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        _curves(axes, rows, value)
        for row in rows:
            lost = value(row)
            if row.point == PAPER and lost is not None:
                place = PAPER.bits * entries / 8e6, lost
                axes.plot(*place, "*", color=DARK, markersize=13, label="the paper's 8 bits")
        axes.set_yscale("symlog", linthresh=1e-3)
        axes.axhline(0, color="0.6", linewidth=1, label=f"float32, {4 * entries / 1e6:,.1f} MB")
        _finish(axes, label)
    _legend(figure)
    figure.suptitle(title)
    return figure


def plot_guidance(rows: Sequence[Summary], title: str) -> Any:
    """KL from the float guidance where every step has a finite one, and total variation of all, against megabytes;
    the mask alone across."""
    figure = new_figure(11, 5.2)
    panels: dict[str, Callable[[Summary], float | None]] = {
        "KL(float || compressed) (nats per step)": lambda row: row.kl.value if row.kl and not row.infinite else None,
        "total variation distance from float": lambda row: row.variation.value,
    }
    for axes, (label, value) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        _curves(axes, rows, value)
        for row in rows:
            height = value(row)
            if row.point.method == MASK_ONLY and height is not None:
                axes.axhline(height, color="black", linewidth=1, linestyle=(0, (6, 3)), label="the mask alone, no HMM")
        axes.set_yscale("log")
        _finish(axes, label)
    _legend(figure)
    figure.suptitle(title)
    return figure


def _curves(axes: Any, rows: Sequence[Summary], value: Callable[[Summary], float | None]) -> None:
    """A line through the points of each method that have a value, with the bits at its points."""
    curves: dict[str, list[tuple[float, float, Summary]]] = defaultdict(list)
    for row in rows:
        height = value(row)
        if row.point.method != MASK_ONLY:
            threshold = row.point.threshold is not None
            curve = curves[f"{row.point.method}, {row.point.bits} bits, thresholds" if threshold else row.point.method]
            if height is not None:
                curve.append((row.bytes / 1e6, height, row))
    for place, (label, curve) in enumerate(curves.items()):
        if curve:
            x, y, members = zip(*sorted(curve, key=lambda item: item[0]), strict=True)
            style = {"color": _COLOURS[place % 4], "linestyle": _STYLES[place // 4 % 3]}
            axes.plot(x, y, marker=_MARKERS[place % len(_MARKERS)], markersize=4, label=label, **style)
            for at, height, row in zip(x, y, members, strict=True):
                if row.point.threshold is None:
                    offset = {"xytext": (2, 3), "textcoords": "offset points"}
                    axes.annotate(str(row.point.bits), (at, height), fontsize=6, color="0.3", **offset)


def _finish(axes: Any, label: str) -> None:
    axes.set_xscale("log")
    axes.set_xlabel("transition and emission on disk (MB); numbers are bits")
    axes.set_ylabel(label)
    axes.grid(color="0.92")


def _legend(figure: Any) -> None:
    """Below the panels; of the last one, which shows the most."""
    handles, labels = figure.axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
