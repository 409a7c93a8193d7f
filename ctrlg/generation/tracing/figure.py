"""The picture of a trace: above, how sure the guide is; below, what the language model preferred alone and guided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ctrlg.figures import DARK, LIGHT, MIDDLE, check_figure_path, label, new_figure, save_figure
from ctrlg.files.outputs import require_packages
from ctrlg.generation.tracing.trace import MOST_PREFERRED, Preferred, Trace, curve

_LOWEST = 1e-12  # probabilities below are shown as this: a logarithmic axis has no 0
_INCHES_A_TOKEN = 0.95
_LONGEST_TOKEN = 11  # characters


def plot(trace: Callable[[], Trace], path: str | Path | None = None) -> Any:
    """The figure of a trace.

    Args:
        trace: makes the trace; called when it is known that a figure can be made.
        path: also write the figure to this file.

    Returns:
        The matplotlib figure.

    Raises:
        ArgumentError: as `check_figure_path`.
    """
    require_packages(["matplotlib"], "distill")
    if path is not None:
        check_figure_path(path)
    figure = figure_of(trace())
    if path is not None:
        save_figure(figure, path, "result.plot()")
    return figure


def figure_of(trace: Trace) -> Any:
    """The matplotlib figure of a trace: a column for each token."""
    count = len(trace.steps)
    figure = new_figure(max(6.4, 1.6 + _INCHES_A_TOKEN * count), 6.4)
    above, alone, guided = figure.subplots(3, 1, sharex=True, height_ratios=[3, 2, 2])
    _plot_curve(above, trace)
    _plot_preferred(alone, trace, [step.preferred_alone for step in trace.steps], "language model alone")
    _plot_preferred(guided, trace, [step.preferred_guided for step in trace.steps], "with the guide")
    guided.set_xticks(range(1, count + 1), [f"state {step.state}" for step in trace.steps], fontsize=8)
    guided.set_xlabel(f"state of the automaton after the token (of {trace.num_states:,} states)")
    guided.set_xlim(-0.6, count + 0.6)
    return figure


def _plot_curve(axes: Any, trace: Trace) -> None:
    places = range(len(trace.steps) + 1)
    values = curve(trace)
    axes.set_title(_shortened(label(trace.constraint), 100), fontsize=10, loc="left")
    axes.tick_params(labelbottom=False)
    if values is None:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no HMM: the mask alone has no probabilities", ha="center", transform=axes.transAxes)
    else:
        shown = [max(value, _LOWEST) for value in values.tolist()]
        axes.axhline(1.0, color=LIGHT, linewidth=1)
        axes.plot(places, shown, color=DARK, marker="o")
        axes.set_yscale("log")
        axes.set_ylim(min(0.5, min(shown) / 3), 8)
        axes.set_ylabel("probability that the\nconstraint is satisfied")
        for place, value in enumerate(shown):
            axes.annotate(f"{value:.2g}", (place, value), (0, -12), textcoords="offset points", ha="center", fontsize=7)
    for place, name in enumerate([_name(trace.prefix[-_LONGEST_TOKEN:]) or "start", *map(_written, trace.steps)]):
        axes.text(place, 0.94, name, transform=axes.get_xaxis_transform(), ha="center", va="center", fontsize=9)


def _plot_preferred(axes: Any, trace: Trace, columns: Sequence[Sequence[Preferred]], who: str) -> None:
    """A column for each token: the likeliest, best above, each on a bar of its probability; the written one stands
    out by colour and weight."""
    for place, (step, column) in enumerate(zip(trace.steps, columns, strict=True), start=1):
        for row, token in enumerate(column):
            written = token.token_id == step.written.token_id
            axes.barh(
                -row,
                0.92 * token.probability,
                left=place - 0.46,
                height=0.84,
                color=MIDDLE if written else LIGHT,
                alpha=0.55,
            )
            name = _shortened(_name(token.text) or "end", _LONGEST_TOKEN)
            weight = "bold" if written else "normal"
            axes.text(place - 0.44, -row, name, va="center", fontsize=7.5, fontweight=weight)
    axes.set_ylim(-MOST_PREFERRED + 0.4, 0.6)
    axes.set_yticks([])
    axes.set_ylabel(who)


def _written(step: Any) -> str:
    return _shortened(_name(step.written.text) or "end", _LONGEST_TOKEN)


def _name(text: str) -> str:
    """A token's text, its white space to be seen."""
    return label(text.replace(" ", "\u00b7").replace("\n", "\u21b5"))


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"
