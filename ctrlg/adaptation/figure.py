"""Figure of an adaptation: training and held-out loss over steps, the chosen step marked."""

from __future__ import annotations

from pathlib import Path

from ctrlg.adaptation.log import Losses
from ctrlg.figures import save_figure

SMOOTHED_SHARE = 0.02  # the training curve is a mean over this share of all steps


def plot_adaptation(losses: Losses, path: str | Path) -> None:
    """Plot the losses of a run (`read_log`) into a file, in nats per token.

    Args:
        losses: of a run, nats per token.
        path: of the plot, .png, .svg or .pdf.
    """
    from matplotlib.figure import Figure

    first, best = losses.evaluations[0], losses.best
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    steps, means = _smoothed(losses.training)
    window = _window(losses.training)
    label = f"training, mean of {window} steps" if window > 1 else "training"
    axes.plot(steps, means, color="0.6", linewidth=1.2, label=label)
    axes.plot(
        [evaluation.step for evaluation in losses.evaluations],
        [evaluation.held_out_loss for evaluation in losses.evaluations],
        color="#0b3c8c",
        marker="o",
        markersize=3.5,
        label="held-out sentences",
    )
    axes.plot(best.step, best.held_out_loss, "D", color="#d1495b", markersize=8, markeredgecolor="black", label="kept")
    axes.annotate(
        f"{best.held_out_loss:.3f} at step {best.step:,}",
        (best.step, best.held_out_loss),
        xytext=(-8, -16),
        textcoords="offset points",
        horizontalalignment="right" if best.step else "left",
    )
    low = min([best.held_out_loss, *means])
    # The first steps of a new domain tower over the rest: they stay in sight, what follows fills the picture.
    axes.set_ylim(low - 0.12 * (first.held_out_loss - low + 0.1), first.held_out_loss * 1.03)
    axes.set_xlabel("training step")
    axes.set_ylabel("loss (nats per token)")
    axes.set_title(_finding(losses))
    axes.grid(color="0.9")
    axes.legend(frameon=False)
    save_figure(figure, path)


def _finding(losses: Losses) -> str:
    first, last, best = losses.evaluations[0], losses.evaluations[-1], losses.best
    if best is first:
        return f"No step improves on the held-out loss of {first.held_out_loss:.2f} nats per token"
    fall = f"Held-out loss falls from {first.held_out_loss:.2f} to {best.held_out_loss:.2f} nats per token"
    return f"{fall}, still falling at the end" if best is last else f"{fall}, then rises: step {best.step:,} is kept"


def _window(losses: list[float]) -> int:
    return max(1, round(len(losses) * SMOOTHED_SHARE))


def _smoothed(losses: list[float]) -> tuple[list[float], list[float]]:
    """(steps, means): one point per window; the last one may be shorter."""
    window = _window(losses)
    steps, means = [], []
    for start in range(0, len(losses), window):
        part = losses[start : start + window]
        steps.append(start + (len(part) + 1) / 2)
        means.append(sum(part) / len(part))
    return steps, means
