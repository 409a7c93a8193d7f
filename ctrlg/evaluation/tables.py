"""Results of the benchmark as a table, and as a figure: a line for every method, bits and mask."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.errors import DataError
from ctrlg.evaluation.metrics.bleu import ORDERS
from ctrlg.evaluation.metrics.scores import Score, evaluate, mean_score
from ctrlg.evaluation.results import Written
from ctrlg.figures import DARK, LIGHT, MIDDLE, new_figure, save_figure
from ctrlg.files.records import markdown_rows

SHOWN = {"success": "success", "rouge_l": "ROUGE-L (unstemmed)", "bleu_4": "BLEU-4", "cider": "CIDEr"}
AS_NORM_Q = {
    "constraints_accuracy": "constraints accuracy",
    **{f"bleu_{order}": f"Bleu_{order}" for order in range(1, ORDERS + 1)},
    "bleu_average": "average of Bleu_1 to 4",
    "cider": "CIDEr",
    "rouge_l_stemmed": "average rougeL F score",
}
"""The scores that Norm-Q's test_acc.py prints, under its names."""
PANELS = {"success": "success", "cider": "CIDEr", "log_prob": "log-probability per token (nats)"}
COLOURS = (DARK, MIDDLE, "0.7", LIGHT, "#7b4fa3", "#d9a400", "0.4")  # of methods, as many as there are markers


class Row(NamedTuple):
    """What one setting wrote.

    Attributes:
        method: of the lines, or the name of their file.
        bits: of a code, or None.
        mask: "hard" or "soft", or None.
        sentences: how many.
        scores: those of `evaluate`, and "log_prob", the language model's nats per token, where it was written down.
        kept: how many constraints were kept, words and their number, or None.
        bytes: of transition and emission on disk, or None.
        milliseconds: a token, neural and symbolic; None where no time was written down.
        symbolic: of these milliseconds; None where no time was written down.
    """

    method: str
    bits: int | None
    mask: str | None
    sentences: int
    scores: dict[str, Score]
    kept: int | None
    bytes: int | None
    milliseconds: float | None
    symbolic: float | None


def rows_of(
    lines: Sequence[Mapping[str, Any]],
    references: Mapping[int, Sequence[str]],
    name: str = "results",
    substring: bool = False,
    first_only: bool = True,
) -> list[Row]:
    """One row for each method, bits and mask, in order of their first line; errors as `evaluate`.

    Args:
        lines: of the benchmark's output, or of any results file (`ctrlg.evaluation.results`): then `name` is the
            method.
        references: human sentences of each concept set, by its number.
        name: of the file.
        substring: how concepts are looked for, see `covered`.
        first_only: judge the first sentence of each concept set, as Norm-Q does, whose files hold all beams, best
            first.
    """
    groups: dict[tuple[Any, Any, Any], list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines:
        groups[group_of(line, name)].append(line)
    return [_row(*key, group, references, substring, first_only) for key, group in groups.items()]


def group_of(line: Mapping[str, Any], name: str) -> tuple[Any, Any, Any]:
    """Method, bits and mask of a line, which say the row it belongs to; `name` where it names no method.

    Args:
        line: of a results file.
        name: of the file.
    """
    return line.get("method", name), line.get("bits"), line.get("mask")


def _row(
    method: str,
    bits: int | None,
    mask: str | None,
    lines: Sequence[Mapping[str, Any]],
    references: Mapping[int, Sequence[str]],
    substring: bool,
    first_only: bool,
) -> Row:
    written = [Written.of(line, f"a line of {method}") for line in lines]
    if first_only:
        written = [part.best() for part in written]
    scores = evaluate(written, references, substring)
    if all("log_prob" in line for line in lines):
        scores["log_prob"] = mean_score([line["log_prob"] for line in lines], [part.number for part in written])
    times = None
    if all("steps" in line for line in lines):
        steps = sum(line["steps"] for line in lines)
        times = [1e3 * sum(line[name] for line in lines) / steps for name in ("seconds", "symbolic_seconds")]
    return Row(
        method,
        bits,
        mask,
        sum(len(part.sentences) for part in written),
        scores,
        sum(line["kept"] for line in lines) if all("kept" in line for line in lines) else None,
        round(statistics.mean(line["bytes"] for line in lines)) if all("bytes" in line for line in lines) else None,
        *(times or (None, None)),
    )


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table, scores with their 95 % intervals.

    Args:
        rows: of `rows_of`.
    """
    with_log = any("log_prob" in row.scores for row in rows)
    heads = ["method", "bits", "mask", "sentences", "kept", *SHOWN.values()]
    heads += ["log-probability"] * with_log + ["bytes", "ms a token (symbolic)"]
    table = [heads]
    for row in rows:
        cells = [row.method, _text(row.bits), row.mask or "", f"{row.sentences:,}", _text(row.kept)]
        cells += [str(row.scores[name]) for name in SHOWN]
        if with_log:
            cells.append(str(row.scores.get("log_prob", "")))
        time = "" if row.milliseconds is None else f"{row.milliseconds:.0f} ({row.symbolic:.1f})"
        table.append([*cells, _text(row.bytes), time])
    return markdown_rows(table)


def norm_q_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table of the scores that Norm-Q's test_acc.py prints, under its names, to three decimals as there.

    Args:
        rows: of `rows_of`.
    """
    table: list[Sequence[object]] = [["method", "bits", "mask", *AS_NORM_Q.values()]]
    for row in rows:
        values = [f"{row.scores[name].value:.3f}" for name in AS_NORM_Q]
        table.append([row.method, _text(row.bits), row.mask or "", *values])
    return markdown_rows(table)


def plot(rows: Sequence[Row], path: str | Path, command: str | None = None) -> None:
    """Success, CIDEr and log-probability against bits, a line for each method and mask; what has no bits of its own
    (the float HMM, the mask alone) across.

    Args:
        rows: of `rows_of`.
        path: of the plot.
        command: kept in the file's metadata.

    Raises:
        DataError: no row has bits.
        ArgumentError: as `save_figure`.
    """
    lines = [row for row in rows if row.bits is not None]
    if not lines:
        raise DataError("no row says its bits: nothing to plot", hint="results of test_benchmark.py")
    panels = {name: label for name, label in PANELS.items() if all(name in row.scores for row in lines)}
    figure = new_figure(4.5 * len(panels) + 1, 4.7)
    for axes, (name, label) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        groups = dict.fromkeys((row.method, row.mask) for row in lines)
        methods = list(dict.fromkeys(row.method for row in lines if row.bits not in (0, 32)))
        for method, mask in groups:
            members = sorted((row for row in lines if (row.method, row.mask) == (method, mask)), key=_bits)
            scores = [row.scores[name] for row in members]
            if len(members) == 1 and members[0].bits in (0, 32):
                line = ":" if members[0].bits else "-."
                axes.axhline(scores[0].value, color="0.3", linestyle=line, linewidth=1, label=f"{method}, {mask} mask")
                continue
            look = methods.index(method) if method in methods else len(methods)
            style = {"color": COLOURS[look % len(COLOURS)], "label": f"{method}, {mask} mask"}
            style |= {"linestyle": "--" if mask == "soft" else "-", "marker": "osD^vPX"[look % 7]}
            errors = [[s.value - s.low for s in scores], [s.high - s.value for s in scores]]
            axes.errorbar([_bits(row) for row in members], [s.value for s in scores], errors, ms=5, **style)
        if name == "success":
            axes.set_ylim(0, 1.05)
        axes.set_xlabel("bits")
        axes.set_ylabel(label)
        axes.grid(color="0.92")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle("What is written under a constraint, by method and bits (95 % intervals)")
    save_figure(figure, path, command)


def _bits(row: Row) -> int:
    return row.bits or 0


def _text(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
