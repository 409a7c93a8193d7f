"""Is the HMM right about how soon words come? p(word within r tokens | read so far) beside how often they came.

    python -m studies.prompts.calibration --hmm instruct --samples runs/samples/data.test --plot fig/calibration.svg

Words are single tokens that begin with a space, spread evenly over the frequencies found in the samples of the language
model. For every sample that has not had the word in its first --read tokens, the HMM says how likely it comes within
the next r; the sample says whether it did. The slope is that of a logistic regression of what happened on the HMM's
log-odds: 1 where the HMM is calibrated, below 1 where what it has read should move it less, above where more. A slope
b for rare events means p proportional to (the HMM's p) ** b: what a strength of b in decoding corrects. Intervals:
bootstrap over samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.errors import DataError
from ctrlg.figures import DARK, MIDDLE, check_figure_path, new_figure, save_figure
from ctrlg.files.records import markdown_rows
from ctrlg.hmm.inference import filter_tokens
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import load_tokenizer
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser

RARE, COMMON = 0.01, 0.4  # share of samples that hold a word
LEAST_LETTERS = 4
RESAMPLES = 200


def main() -> None:
    arguments = parse_arguments()
    if arguments.plot:
        check_figure_path(arguments.plot)
    samples = torch.cat([read_sequences(path) for path in arguments.samples]).long()
    words = chosen_words(samples, load_tokenizer(arguments.base_model), arguments.words)
    predicted, happened, open_ = outcomes(
        load_hmm(arguments.hmm, device=arguments.device), samples, words, arguments.read, arguments.within
    )
    rows: list[list[Any]] = [["within r tokens", "HMM's mean p", "came", "ratio", "slope"]]
    for index, within in enumerate(arguments.within):
        rows.append([within, *summary(predicted[index], happened[index], open_, arguments.seed)])
    say(f"{len(words)} words, {len(samples)} samples, {arguments.read} tokens read\n\n{markdown_rows(rows)}")
    if arguments.plot:
        plot(predicted, happened, open_, arguments.within, arguments.plot)


def chosen_words(samples: Tensor, tokenizer: Any, count: int) -> NDArray[np.int64]:
    """Tokens that are whole words, evenly spread over how many samples hold them. Raises DataError for too few."""
    held = np.zeros(int(samples.max()) + 1)
    for row in samples.numpy():
        held[np.unique(row)] += 1
    share = held / len(samples)
    likely = np.flatnonzero((share >= RARE) & (share <= COMMON))
    texts = tokenizer.batch_decode(likely[:, None].tolist())
    whole = [text[0] == " " and text[1:].isalpha() and len(text) > LEAST_LETTERS for text in texts]
    words = likely[np.array(whole, dtype=bool)] if len(likely) else likely
    if len(words) < count:
        raise DataError(f"{len(words)} words are neither rare nor common in the samples", hint="more samples")
    ordered = words[np.argsort(share[words], kind="stable")]
    return ordered[np.linspace(0, len(ordered) - 1, count).astype(int)]


def outcomes(
    hmm: Any, samples: Tensor, words: NDArray[np.int64], read: int, within: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """What the HMM expects and what happened, [r, samples, words], and where the word had not come yet."""
    model = hmm.inference_parameters
    if read:
        predictive = filter_tokens(model, samples[:, :read].to(model.initial.device)).predictive[:, -1]
    else:
        predictive = model.initial.expand(len(samples), -1)
    transition = model.transition.to_dense().double()
    otherwise = 1 - model.emission.to_dense()[:, torch.from_numpy(words).to(model.initial.device)].double()
    absent = torch.ones_like(otherwise)
    expected = {}
    for length in range(1, max(within) + 1):
        absent = otherwise * (absent if length == 1 else transition @ absent)
        if length in within:
            expected[length] = (1 - predictive.double() @ absent).cpu()
    is_word = samples.numpy()[:, :, None] == words
    came = [is_word[:, read : read + length].any(axis=1) for length in within]
    return np.stack([expected[length].numpy() for length in within]), np.stack(came), ~is_word[:, :read].any(axis=1)


def summary(
    predicted: NDArray[np.float64], happened: NDArray[np.bool_], open_: NDArray[np.bool_], seed: int
) -> list[str]:
    """Mean prediction, mean outcome, their ratio and the slope, the last two with intervals."""
    random = np.random.default_rng(seed)
    drawn = [random.integers(len(open_), size=len(open_)) for _ in range(RESAMPLES)]
    ratios, slopes = [], []
    for rows in drawn:
        chosen = open_[rows]
        mine, came = predicted[rows][chosen], happened[rows][chosen]
        ratios.append(mine.mean() / came.mean())
        slopes.append(slope(mine, came))
    mine, came = predicted[open_], happened[open_]
    return [
        f"{mine.mean():.4f}",
        f"{came.mean():.4f}",
        _interval(mine.mean() / came.mean(), ratios),
        _interval(slope(mine, came), slopes),
    ]


def slope(predicted: NDArray[np.float64], happened: NDArray[np.bool_], steps: int = 30) -> float:
    """Of a logistic regression of the outcome on the predicted log-odds, by Newton's method."""
    odds = np.log(np.clip(predicted, 1e-12, 1 - 1e-9)) - np.log1p(-np.clip(predicted, 1e-12, 1 - 1e-9))
    design = np.stack([np.ones_like(odds), odds], axis=1)
    weights = np.array([0.0, 1.0])
    for _ in range(steps):
        fitted = 1 / (1 + np.exp(-design @ weights))
        curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design
        change = np.linalg.solve(curvature, design.T @ (happened - fitted))
        weights += change
        if np.abs(change).max() < 1e-8:
            break
    return float(weights[1])


def _interval(value: float, resampled: Sequence[float]) -> str:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def plot(
    predicted: NDArray[np.float64],
    happened: NDArray[np.bool_],
    open_: NDArray[np.bool_],
    within: Sequence[int],
    path: str,
) -> None:
    """What came against what was expected, in tenths of the predictions, one panel for each r."""
    figure = new_figure(2.8 * len(within), 2.8)
    axes = figure.subplots(1, len(within), sharey=True, squeeze=False)[0]
    for axis, length, expected, came in zip(axes, within, predicted, happened, strict=True):
        expected, came = expected[open_], came[open_]
        parts = np.array_split(np.argsort(expected, kind="stable"), 10)
        axis.loglog([expected[part].mean() for part in parts], [came[part].mean() for part in parts], "o-", color=DARK)
        low = max(1e-4, expected.min())
        axis.loglog([low, 1], [low, 1], "--", color=MIDDLE)
        axis.set(title=f"within {length} tokens", xlabel="the HMM's probability")
    axes[0].set_ylabel("share that came")
    save_figure(figure, path)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hmm", default="instruct", help="folder or hub id (%(default)s)")
    parser.add_argument("--base_model", default="instruct", help="whose tokenizer it has (%(default)s)")
    parser.add_argument(
        "--samples", nargs="+", required=True, help="of the language model, that nothing was trained on"
    )
    parser.add_argument("--words", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--read", type=int, default=32, help="tokens read before (%(default)s)")
    parser.add_argument("--within", type=int, nargs="+", default=[8, 32, 64, 128], help="r (8 32 64 128)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", help="figure")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
