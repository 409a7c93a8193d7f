"""Figure of traced steps, after figure 1 of the Norm-Q paper (arXiv 2509.25439): float above, compressed below.

From left to right: the two halves' shares of a step over hidden sizes, the operators' shares at the largest of them,
and the milliseconds of a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ctrlg.errors import DataError
from ctrlg.figures import DARK, LIGHT, MIDDLE, new_figure
from studies.shared import Line

KINDS = ("float", "compressed")
PAPER_STATES, PAPER_SHARE = 16384, 0.75  # of the symbolic half in the paper
_SHOWN_OPERATORS = 10
_HALVES = {"neural": LIGHT, "symbolic": DARK}


def plot_trace(lines: Sequence[Line]) -> Any:
    """Figure 1 of the Norm-Q paper, of our measurements.

    lines: each with hidden_states, kind ("float" or "compressed"), beams, and the fields of `StepTimes`; shares and
    operators are shown for the most beams. Raises DataError where there are none.
    """
    if not lines:
        raise DataError("nothing was measured, so there is nothing to plot", hint="measure smaller HMMs first")
    beams = max(line["beams"] for line in lines)
    sizes = sorted({line["hidden_states"] for line in lines})
    figure = new_figure(14, 7)
    panels = figure.subplots(2, 3, width_ratios=(1, 1.05, 1))
    for (shares, operators, latency), kind in zip(panels, KINDS, strict=True):
        of_kind = sorted((line for line in lines if line["kind"] == kind), key=lambda line: line["hidden_states"])
        widest = [line for line in of_kind if line["beams"] == beams]
        _shares(shares, widest, sizes, kind, beams)
        _operators(operators, widest, kind)
        _latency(latency, of_kind, sizes, kind)
    floors, tops = zip(*(axes.get_ylim() for axes in panels[:, 2]), strict=True)
    for axes in panels[:, 2]:
        axes.set_ylim(min(floors), max(tops))
    figure.suptitle(finding(lines))
    return figure


def finding(lines: Sequence[Line]) -> str:
    """What the measurements say of the symbolic half, in a sentence."""
    beams = max(line["beams"] for line in lines)
    parts = []
    for kind in KINDS:
        found = {line["hidden_states"]: line for line in lines if line["kind"] == kind and line["beams"] == beams}
        if found:
            first, last = found[min(found)], found[max(found)]
            grown = "" if len(found) == 1 else f"{first['share']:.0%} at {min(found):,} states to "
            parts.append(f"{kind} {grown}{last['share']:.0%} at {max(found):,}")
    plural = "beam" if beams == 1 else "beams"
    return f"The constraint's share of a step, {beams} {plural}: " + "; ".join(parts)


def _shares(axes: Any, lines: Sequence[Line], sizes: Sequence[int], kind: str, beams: int) -> None:
    places = [sizes.index(line["hidden_states"]) for line in lines]
    symbolic = [line["share"] for line in lines]
    axes.bar(places, symbolic, 0.65, color=_HALVES["symbolic"], label="symbolic (constraint and HMM)")
    neural = [1 - share for share in symbolic]
    axes.bar(places, neural, 0.65, bottom=symbolic, color=_HALVES["neural"], label="neural (model and search)")
    for place, share in zip(places, symbolic, strict=True):
        axes.text(place, share + 0.01, f"{share:.0%}", ha="center", va="bottom", size=8)
    axes.axhline(
        PAPER_SHARE, color=MIDDLE, linestyle="--", linewidth=1.2, label=f"Norm-Q paper, {PAPER_STATES:,} states"
    )
    _size_axis(axes, sizes)
    axes.set_ylim(0, 1.42)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.set_ylabel("share of a step's time")
    axes.set_title(f"{kind} HMM: the halves, {beams} beams", size=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    _empty(axes, lines)


def _operators(axes: Any, lines: Sequence[Line], kind: str) -> None:
    """Operators by their share of the whole step at the largest size; those of the symbolic half are dark."""
    axes.set_title(f"{kind} HMM: operators" + (f", {lines[-1]['hidden_states']:,} states" if lines else ""), size=10)
    _empty(axes, lines)
    if not lines:
        return
    largest = lines[-1]
    halves = {"neural": 1 - largest["share"], "symbolic": largest["share"]}
    rows = [
        (share * halves[half], name, half)
        for half, operators in largest["operators"].items()
        for name, share in operators.items()
    ]
    rows = sorted(rows, reverse=True)[:_SHOWN_OPERATORS][::-1]
    axes.barh(
        range(len(rows)), [share for share, _, _ in rows], color=[_HALVES[half] for _, _, half in rows], height=0.7
    )
    for place, (share, _, _) in enumerate(rows):
        axes.text(share, place, f" {share:.1%}", va="center", size=8)
    axes.set_yticks(range(len(rows)), [name for _, name, _ in rows], fontsize=8)
    axes.set_xlim(0, 1.2 * max(share for share, _, _ in rows))
    axes.set_xlabel("share of a step's time (dark: symbolic)")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)


def _latency(axes: Any, lines: Sequence[Line], sizes: Sequence[int], kind: str) -> None:
    """Milliseconds of a token's halves: symbolic in full lines, neural dashed; bars are quartiles of the steps."""
    for number, beams in enumerate(sorted({line["beams"] for line in lines})):
        group = [line for line in lines if line["beams"] == beams]
        places = [sizes.index(line["hidden_states"]) for line in group]
        colour = (MIDDLE, DARK, LIGHT, "0.4")[number % 4]
        for half, style in (("symbolic", "o-"), ("neural", "s--")):
            middle = [line[half] for line in group]
            spread = [line[f"{half}_quartiles"] for line in group]
            errors = [[m - low for m, (low, _) in zip(middle, spread, strict=True)]]
            errors.append([high - m for m, (_, high) in zip(middle, spread, strict=True)])
            label = f"{half}, {beams} {'beam' if beams == 1 else 'beams'}"
            axes.errorbar(places, middle, errors, fmt=style, color=colour, label=label, markersize=4, linewidth=1.2)
    axes.set_yscale("log")
    _size_axis(axes, sizes)
    axes.set_ylabel("milliseconds a token (all beams)")
    axes.set_title(f"{kind} HMM: median latency, quartiles", size=10)
    axes.grid(color="0.92")
    if lines:
        axes.legend(frameon=False, fontsize=8)
    _empty(axes, lines)


def _size_axis(axes: Any, sizes: Sequence[int]) -> None:
    axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    axes.set_xlim(-0.6, len(sizes) - 0.4)
    axes.set_xlabel("hidden states")


def _empty(axes: Any, lines: Sequence[Line]) -> None:
    if not lines:
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes, color="0.4")
