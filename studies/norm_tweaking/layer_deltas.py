"""How far the layers' outputs are from the float model's, channel by channel, and the figure of it.

|mean_f[c] - mean_q[c]|   and   |variance_f[c] - variance_q[c]|          over the same texts, after every layer
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.figures import DARK, MIDDLE, new_figure
from normtweaking.tweaking.chain import LayerChain
from normtweaking.tweaking.moments import Moments, MomentSums


class LayerDeltas(NamedTuple):
    """Absolute differences of the channels' means and variances after each layer, both [L, C], float64."""

    mean: Tensor
    variance: Tensor


@torch.no_grad()
def layer_moments(model: Any, tokens: Tensor, batch_size: int = 8) -> list[Moments]:
    """Of what each decoder layer returns. tokens: int64 [n, T]."""
    chain = LayerChain(model)
    sums = [MomentSums() for _ in chain.layers]
    for part in tokens.to(next(model.parameters()).device).split(batch_size):
        hidden, calls = chain.inputs({"input_ids": part})
        for index, call in enumerate(calls):
            hidden = chain.run(index, hidden, call)
            sums[index].add(hidden)
    return [layer.moments() for layer in sums]


def layer_deltas(reference: list[Moments], other: list[Moments]) -> LayerDeltas:
    """Of two models of the same shape on the same texts."""
    pairs = list(zip(reference, other, strict=True))
    return LayerDeltas(
        torch.stack([(one.mean - two.mean).abs() for one, two in pairs]),
        torch.stack([(one.variance - two.variance).abs() for one, two in pairs]),
    )


def plot_layers(before: LayerDeltas, after: LayerDeltas, said: str) -> Any:
    """The deltas of a quantized and a tweaked model, layer by layer.

    Lines are means over channels, bands reach from their 10th to their 90th percentile. said: scheme and way.
    """
    figure = new_figure(9.5, 4)
    symbols = (r"$|\mu_f - \mu_q|$", r"$|\sigma^2_f - \sigma^2_q|$")
    parts = zip(figure.subplots(1, 2), LayerDeltas._fields, symbols, strict=True)
    for axes, name, symbol in parts:
        for deltas, label, colour, style in ((before, "quantised", DARK, "--"), (after, "tweaked", MIDDLE, "-")):
            values = getattr(deltas, name)
            layers = range(1, len(values) + 1)
            low, high = (values.quantile(share, 1) for share in (0.1, 0.9))
            axes.fill_between(layers, low.tolist(), high.tolist(), color=colour, alpha=0.18, linewidth=0)
            axes.plot(layers, values.mean(1).tolist(), style, color=colour, label=label, linewidth=1.8)
        axes.set_yscale("log")
        axes.set_xlabel("decoder layer")
        axes.set_ylabel(f"{symbol} (units of the states{'²' * (name == 'variance')})")
        axes.set_title(f"{name}s of channels: mean, and 10th to 90th percentile", size=10)
        axes.grid(color="0.92")
    figure.axes[0].legend(frameon=False)
    figure.suptitle(f"{_finding(before, after)}\n{said}", size=11)
    return figure


def _finding(before: LayerDeltas, after: LayerDeltas) -> str:
    """By how much the last layers' deltas change; means over channels and layers."""
    shares = [
        100 * float((new.mean(1) / old.mean(1).clamp_min(1e-300)).log().mean().expm1())
        for old, new in zip(before, after, strict=True)
    ]
    mean, variance = (f"{abs(share):.0f} % {'less' if share < 0 else 'more'}" for share in shares)
    return f"Tweaked norms: channel means {mean} off in a typical layer, variances {variance}"
