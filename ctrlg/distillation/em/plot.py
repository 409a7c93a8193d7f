"""The figure of a training run: likelihood over steps, with the moments of quantisation marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctrlg.distillation.em.log import TrainingRecord, is_tab_separated, read_log
from ctrlg.errors import ArgumentError
from ctrlg.figures import DARK, LIGHT, MIDDLE, check_figure_path, new_figure, save_figure


def check_plot(log_file: str | Path, output: str | Path) -> None:
    """Check that `plot_training` will be able to plot when the run is over.

    Args:
        log_file: of the run.
        output: file of the plot.

    Raises:
        ArgumentError: a log of Ctrl-G's lines, or a file that cannot be written.
    """
    check_figure_path(output)
    if is_tab_separated(log_file):
        raise ArgumentError(f"a plot needs more than {log_file} will hold", hint="name the log *.jsonl, or do not plot")


def plot_training(log_file: str | Path, output: str | Path, command: str = "") -> None:
    """Plot a training log.

    Args:
        log_file: as `train` writes it; several runs in it are plotted one after the other, by checkpoint.
        output: .png or .svg.
        command: kept in the file's metadata.

    Raises:
        DataError: a file that is no log.
        ArgumentError: other formats.
    """
    settings, records = read_log(log_file)
    figure = new_figure(7.5, 4.5)
    axes = figure.add_subplot()
    _plot_quantisations(axes, [record for record in records if record.quantised])
    trained = [record for record in records if record.train_per_token is not None]
    axes.plot(
        [record.checkpoint for record in trained],
        [record.train_per_token for record in trained],
        color=MIDDLE,
        linestyle="--",
        marker=".",
        label="train",
    )
    axes.plot(
        [record.checkpoint for record in records],
        [record.dev_per_token for record in records],
        color=DARK,
        marker="o",
        markersize=4,
        label="dev",
    )
    best = _best(records)
    axes.plot(best.checkpoint, best.dev_per_token, "*", color=DARK, markersize=15, label="best dev")
    axes.set_xlabel("checkpoint (chunks read)")
    axes.set_ylabel("log-likelihood (nats per token)")
    axes.set_title(_finding(records, best, settings))
    axes.legend()
    save_figure(figure, output, command)


def _plot_quantisations(axes: Any, quantised: list[TrainingRecord]) -> None:
    for index, record in enumerate(quantised):
        label = f"quantised to {_bits(quantised)}" if index == 0 else None
        axes.axvline(record.checkpoint, color=LIGHT, linewidth=1.5, zorder=0, label=label)


def _bits(quantised: list[TrainingRecord]) -> str:
    bits = sorted({record.bits for record in quantised if record.bits is not None})
    return f"{bits[0]} bits" if len(bits) == 1 else f"{bits[0]} to {bits[-1]} bits"


def _best(records: list[TrainingRecord]) -> TrainingRecord:
    """The last record that was the best so far; the highest where none was marked (a quantised run's first steps)."""
    marked = [record for record in records if record.best]
    return marked[-1] if marked else max(records, key=lambda record: record.dev_per_token)


def _finding(records: list[TrainingRecord], best: TrainingRecord, settings: dict[str, Any]) -> str:
    before, after = records[0].dev_per_token, best.dev_per_token
    if best.step == 0 and len(records) > 1:
        return f"No step improves on the start: {before:.3f} nats per token\non the dev set"
    where = f"checkpoint {best.checkpoint}"
    if best.quantised:
        where += f", {settings.get('quantization_method', 'quantised')} at {best.bits} bits"
    return f"From {before:.3f} to {after:.3f} nats per token on the dev set\n({where})"
