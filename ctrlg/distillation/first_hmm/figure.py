"""Figure of a first HMM: how many tokens each state stands for, and the words that twelve of them emit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ctrlg.figures import label, save_figure
from ctrlg.hmm import HMM
from ctrlg.terminal.text import visible_token

SHOWN_STATES = 12
SHOWN_WORDS = 5


def plot_states(hmm: HMM, cluster_sizes: Tensor, tokenizer: Any, path: str | Path) -> None:
    """Plot cluster sizes (int64 [H], tokens a state) and top words into a .png, .svg or .pdf file.

    The twelve states are spread evenly over the sizes, from the largest to the smallest that has members.

    Args:
        hmm: of the clusters.
        cluster_sizes: tokens a state, int64 [H].
        tokenizer: that names the tokens.
        path: of the plot.
    """
    from matplotlib.figure import Figure

    sizes, order = cluster_sizes[:-1].sort(descending=True, stable=True)
    occupied = int((sizes > 0).sum())
    ranks = torch.linspace(0, occupied - 1, min(SHOWN_STATES, occupied), dtype=torch.float32).round().long()
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    left.plot(range(1, occupied + 1), sizes[:occupied].tolist(), color="#0b3c8c", linewidth=1.5)
    left.axhline(float(sizes.float().mean()), color="0.5", linestyle="--", linewidth=1, label="mean")
    left.plot((ranks + 1).tolist(), sizes[ranks].tolist(), "o", color="#d1495b", markersize=4, label="on the right")
    left.set_yscale("log")
    left.set_xlabel("state, by size")
    left.set_ylabel("cluster size (sampled tokens)")
    left.grid(color="0.9")
    left.legend(frameon=False)
    right.set_axis_off()
    right.set_title("likeliest tokens of twelve states" if len(ranks) == SHOWN_STATES else "likeliest tokens", size=10)
    for line, rank in enumerate(ranks.tolist()):
        state = int(order[rank])
        height = 1 - (line + 0.5) / SHOWN_STATES
        right.text(0.16, height, f"{int(sizes[rank]):,}", ha="right", va="center", size=9, color="#d1495b")
        right.text(0.19, height, _top_words(hmm, state, tokenizer), va="center", size=9)
    figure.suptitle(_finding(sizes))
    save_figure(figure, path)


def _top_words(hmm: HMM, state: int, tokenizer: Any) -> str:
    """The likeliest tokens with their probabilities; spaces are shown as in "·dog"."""
    top = hmm.beta[state].detach().exp().topk(min(SHOWN_WORDS, hmm.vocab_size))
    words = [visible_token(tokenizer, token) for token in top.indices.tolist()]
    shown = [f"{word} {100 * mass:.0f}%" for word, mass in zip(words, top.values.tolist(), strict=True)]
    return label("   ".join(shown))


def _finding(sizes: Tensor) -> str:
    """What the sizes say: how uneven they are, and whether states are wasted."""
    occupied = int((sizes > 0).sum())
    half = int((sizes.cumsum(0) < sizes.sum() / 2).sum()) + 1
    empty = len(sizes) - occupied
    wasted = "no state is empty" if not empty else f"{empty:,} {'state is' if empty == 1 else 'states are'} empty"
    return f"{half:,} of {len(sizes):,} states hold half of {int(sizes.sum()):,} sampled tokens; {wasted}"
