"""Figure of an HMM's inside: probabilities, row entropies, and how often its states are used."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from ctrlg.figures import DARK, MIDDLE, new_figure, save_figure
from ctrlg.inspection.inspect import Inspection, MatrixInspection

_SMALL = -5  # log10 of the probability that the title speaks of


def plot_inspection(found: Inspection, path: str | Path, command: str | None = None) -> None:
    """Plot three panels into a .png, .svg or .pdf file. Errors and `command` as for `save_figure`."""
    figure = new_figure(13, 4.2)
    left, middle, right = figure.subplots(1, 3)
    _probabilities(left, found)
    _entropies(middle, found)
    _occupancy(right, found)
    entries, mass = found.emission.histogram.share_below(_SMALL)
    figure.suptitle(
        f"{entries:.0%} of the emission probabilities are below 1e{_SMALL} and hold {mass:.1%} of the mass; "
        f"the {found.hidden_states:,} states are used like {found.effective_states:,.0f} equally frequent ones"
    )
    save_figure(figure, path, command)


def _matrices(found: Inspection) -> tuple[tuple[str, MatrixInspection, str], ...]:
    return (("transition", found.transition, DARK), ("emission", found.emission, MIDDLE))


def _probabilities(axes: Any, found: Inspection) -> None:
    """Entries a bin as steps; where a uniform row would have all of its entries, a dashed line."""
    lowest, highest = 0.0, 0.0
    for name, matrix, colour in _matrices(found):
        edges, entries = matrix.histogram.edges, matrix.histogram.entries.double()
        size = matrix.shape[0] * matrix.shape[1]
        zeros = f", {matrix.histogram.zeros / size:.0%} zeros" if matrix.histogram.zeros else ""
        axes.stairs(
            (entries / size).tolist(),
            (10**edges).tolist(),
            color=colour,
            linewidth=1.5,
            label=f"{name}{zeros}",
        )
        axes.axvline(1 / matrix.shape[1], color=colour, linestyle="--", linewidth=1)
        highest = max(highest, float(entries.max() / size))
        lowest = min(lowest, float(edges[:-1][entries > 0].min()))
    axes.plot([], [], color="0.4", linestyle="--", linewidth=1, label="uniform rows")
    axes.set(xscale="log", yscale="log", xlim=(10 ** (lowest - 0.5), 1.5))
    axes.set_ylim(top=20 * highest)  # room for the legend
    axes.set_axisbelow(True)
    axes.set_xlabel("probability (a quarter of a decade a bin)")
    axes.set_ylabel("share of the matrix's entries")
    axes.set_title("probabilities", size=10)
    axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=8)


def _entropies(axes: Any, found: Inspection) -> None:
    """Rows by entropy, most certain first; the entropy of a uniform row, a dashed line."""
    for name, matrix, colour in _matrices(found):
        entropy = matrix.entropy.sort().values
        share = torch.arange(1, len(entropy) + 1) / len(entropy)
        median = float(entropy.quantile(0.5))
        label = f"{name}, median {median:.2f}"
        axes.plot(share.tolist(), entropy.tolist(), color=colour, linewidth=1.5, label=label)
        axes.axhline(math.log(matrix.shape[1]), color=colour, linestyle="--", linewidth=1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("share of the rows, most certain first")
    axes.set_ylabel("entropy of the row (nats)")
    axes.set_title("row entropies; dashed: of a uniform row", size=10)
    axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=8)


def _occupancy(axes: Any, found: Inspection) -> None:
    """States from the most used on; what each would have if all were used alike, a dashed line."""
    used, order = found.occupancy.sort(descending=True, stable=True)
    ranks = range(1, len(used) + 1)
    axes.plot(ranks, used.tolist(), ".-", color=DARK, linewidth=1.2, markersize=3)
    axes.axhline(1 / len(used), color="0.4", linestyle="--", linewidth=1, label="all used alike")
    if found.end_state is not None:
        place = int((order == found.end_state.state).nonzero()[0, 0])
        label = f"end of text, {found.end_state.occupancy:.0%}"
        axes.plot([place + 1], [float(used[place])], "D", color=MIDDLE, markersize=6, label=label)
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("state, most used first")
    axes.set_ylabel(f"share of {found.tokens} tokens")
    axes.set_title("occupancy of the states", size=10)
    axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=8)
