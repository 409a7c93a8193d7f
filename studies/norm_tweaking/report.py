"""A study of `studies.norm_tweaking.measures` as a Markdown table and as a figure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ctrlg.errors import DataError
from ctrlg.figures import DARK, LIGHT, MIDDLE, new_figure
from ctrlg.files.records import markdown_rows, mean_and_deviation
from studies.norm_tweaking.measures import COLUMNS, FLOAT, QUANTIZED, Scheme
from studies.shared import Line

MOST_PANELS_OF_A_ROW = 3
MANY_DECADES = 10  # greatest over least perplexity from which only powers of ten are marked


class Group(NamedTuple):
    """Lines that differ in their seed only, and the perplexities that they are compared with."""

    scheme: Scheme
    way: str
    passes: int
    samples: int
    length: int
    lines: tuple[Line, ...]
    float_perplexity: float
    quantized: float

    @property
    def perplexities(self) -> list[float]:
        return [line["perplexity"] for line in self.lines]

    @property
    def recovered(self) -> list[float]:
        """Per cent of the lost perplexity, for each seed."""
        lost = self.quantized - self.float_perplexity
        return [100 * (self.quantized - perplexity) / lost for perplexity in self.perplexities]

    @property
    def recovered_nats(self) -> list[float]:
        """Per cent of the lost nats per token, for each seed; of a perplexity in the millions nearly all comes back
        with little gained."""
        lost = math.log(self.quantized / self.float_perplexity)
        return [100 * math.log(self.quantized / perplexity) / lost for perplexity in self.perplexities]


def groups(lines: Sequence[Line]) -> list[Group]:
    """In the order in which they were measured. Raises DataError for lines of several texts or models, or of none."""
    if len({line["text"] for line in lines}) != 1:
        raise DataError(
            "the lines are not of one text under one model", hint="give the lines of one study, measured in one way"
        )
    known = {tuple(line[name] for name in COLUMNS[1:4]): line["perplexity"] for line in lines if not line["samples"]}
    found: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        if line["samples"]:
            found.setdefault(tuple(line[name] for name in COLUMNS[1:-1]), []).append(line)
    return [
        Group(
            Scheme(bits, size),
            way,
            passes,
            samples,
            length,
            tuple(members),
            float_perplexity=known[None, None, FLOAT],
            quantized=known[bits, size, QUANTIZED],
        )
        for (bits, size, way, passes, samples, length), members in found.items()
    ]


def table(lines: Sequence[Line]) -> str:
    """Means ± standard deviations over seeds. Raises as `groups`."""
    head = ("scheme", "way", "texts", "float", "quantised", "tweaked", "recovered", "of the nats")
    head += ("KL before", "KL after", "seeds")
    return markdown_rows([head, *map(_row, groups(lines))])


def _row(group: Group) -> list[object]:
    passes = f", {group.passes} passes" if group.passes > 1 else ""
    before, after = ([line[name] for line in group.lines] for name in ("score_quantized", "score_tweaked"))
    return [
        group.scheme,
        group.way + passes,
        f"{group.samples} x {group.length}",
        f"{group.float_perplexity:.2f}",
        f"{group.quantized:.2f}",
        mean_and_deviation(group.perplexities, 2),
        f"{mean_and_deviation(group.recovered, 1)} %",
        f"{mean_and_deviation(group.recovered_nats, 1)} %",
        f"{statistics.mean(before):.3f}",
        f"{statistics.mean(after):.3f}",
        len(group.lines),
    ]


def plot_study(lines: Sequence[Line]) -> Any:
    """Perplexity of float, quantized and tweaked models, a panel for each scheme.

    Of ways measured more than once for a scheme (passes, sizes), the one with most seeds and texts is plotted; whiskers
    reach from the least to the greatest seed. Raises as `groups`.
    """
    chosen = _drawn(groups(lines))
    schemes = list(dict.fromkeys(group.scheme for group in chosen))
    rows = 1 if len(schemes) <= MOST_PANELS_OF_A_ROW else 2
    columns = math.ceil(len(schemes) / rows)
    figure = new_figure(max(5, 3.4 * columns), 3.9 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for number, axes in enumerate(panels.flat):
        if number < len(schemes):
            _plot_scheme(axes, [group for group in chosen if group.scheme == schemes[number]])
        else:
            axes.set_axis_off()
    for row in panels:
        row[0].set_ylabel("perplexity per token (logarithmic)")
    figure.suptitle(_finding(chosen))
    return figure


def _plot_scheme(axes: Any, members: Sequence[Group]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    quantized, exact = members[0].quantized, members[0].float_perplexity
    names = ["quantised", *(group.way for group in members)]
    means = [quantized, *(statistics.mean(group.perplexities) for group in members)]
    best = min(range(1, len(means)), key=lambda index: means[index])
    colours = [DARK, *(MIDDLE if index == best else LIGHT for index in range(1, len(means)))]
    axes.bar(range(len(means)), [mean - exact for mean in means], bottom=exact, color=colours, edgecolor="0.2")
    for index, group in enumerate(members, start=1):
        axes.vlines(index, min(group.perplexities), max(group.perplexities), color="black", linewidth=1.5)
        share = statistics.mean(group.recovered)
        axes.annotate(
            f"{share:.0f} %", (index, max(group.perplexities)), (0, 3), textcoords="offset points", ha="center"
        )
    top = max(quantized, *(max(group.perplexities) for group in members))
    spread = top / exact
    axes.axhline(exact, color="0.2", linestyle="--", linewidth=1)
    axes.annotate(f"float {exact:.1f}", (len(means) - 0.5, exact), (0, -11), textcoords="offset points", ha="right")
    axes.set_yscale("log")
    axes.set_ylim(exact / spread**0.12, top * spread**0.12)
    axes.yaxis.set_major_locator(LogLocator(subs=(1,) if spread > MANY_DECADES else (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", size=8)
    axes.set_title(str(members[0].scheme), size=10)


def _drawn(found: Iterable[Group]) -> list[Group]:
    chosen: dict[tuple[Scheme, str], Group] = {}
    for group in found:
        other = chosen.get((group.scheme, group.way))
        if other is None or _weight(group) > _weight(other):
            chosen[group.scheme, group.way] = group
    return list(chosen.values())


def _weight(group: Group) -> tuple[int, int, int]:
    return len(group.lines), group.samples * group.length, group.passes


def _finding(chosen: Sequence[Group]) -> str:
    shares = {
        scheme: max(statistics.mean(group.recovered) for group in chosen if group.scheme == scheme)
        for scheme in {group.scheme for group in chosen}
    }
    least, most = min(shares.values()), max(shares.values())
    what = f"{least:.0f} %" if round(least) == round(most) else f"{least:.0f} to {most:.0f} %"
    return f"Norms alone win back {what} of the perplexity that rounding lost (the best way of each scheme)"
