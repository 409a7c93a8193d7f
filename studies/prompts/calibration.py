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

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.errors import DataError
from ctrlg.figures import DARK, MIDDLE, new_figure
from ctrlg.hmm.inference import filter_tokens
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import load_tokenizer
from studies.shared import Key, Line, Measured, Study, StudyFlags, table_of

RARE, COMMON = 0.01, 0.4  # share of samples that hold a word
LEAST_LETTERS = 4
RESAMPLES = 200
TENTHS = 10


class Calibration(Study):
    figures = ("figure",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--samples", nargs="+", required=True, help="of the language model, that nothing was trained on")
        add("--words", type=int, default=100, help="how many")
        add("--read", type=int, default=32, help="tokens read before")
        add("--within", type=int, nargs="+", default=[8, 32, 64, 128], help="r")
        flags.share("seed", hmm="instruct", model="instruct")

    def batches(self) -> Iterable[Sequence[Key]]:
        return [[(within,) for within in self.arguments.within]]

    def measure(self, keys: Sequence[Key]) -> Measured:
        chosen = self.arguments
        samples = torch.cat([read_sequences(path) for path in chosen.samples]).long()
        words = chosen_words(samples, load_tokenizer(chosen.model), chosen.words)
        hmm = load_hmm(chosen.hmm, device=chosen.device)
        predicted, happened, open_ = outcomes(hmm, samples, words, chosen.read, chosen.within)
        self.say(f"{len(words)} words, {len(samples)} samples, {chosen.read} tokens read")
        for key, mine, came in zip(keys, predicted, happened, strict=True):
            yield key, {"within": key[0], **summary(mine, came, open_, chosen.seed)}

    def table(self, lines: Sequence[Line]) -> str:
        return table_of(
            [
                {
                    "within r tokens": line["within"],
                    "HMM's mean p": f"{line['expected']:.4f}",
                    "came": f"{line['came']:.4f}",
                    "ratio": "{:.2f} ({:.2f} to {:.2f})".format(*line["ratio"]),
                    "slope": "{:.2f} ({:.2f} to {:.2f})".format(*line["slope"]),
                }
                for line in lines
            ]
        )

    def figure(self, lines: Sequence[Line]) -> Any:
        """What came against what was expected, in tenths of the predictions, one panel for each r."""
        figure = new_figure(2.8 * len(lines), 2.8)
        axes = figure.subplots(1, len(lines), sharey=True, squeeze=False)[0]
        for axis, line in zip(axes, lines, strict=True):
            axis.loglog(*zip(*line["tenths"], strict=True), "o-", color=DARK)
            axis.loglog([line["least"], 1], [line["least"], 1], "--", color=MIDDLE)
            axis.set(title=f"within {line['within']} tokens", xlabel="the HMM's probability")
        axes[0].set_ylabel("share that came")
        return figure


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
) -> dict[str, Any]:
    """Mean prediction, mean outcome, their ratio and the slope, the last two with intervals; what was expected and what
    came in tenths of the predictions, and the least of these."""
    random = np.random.default_rng(seed)
    ratios, slopes = [], []
    for rows in [random.integers(len(open_), size=len(open_)) for _ in range(RESAMPLES)]:
        chosen = open_[rows]
        mine, came = predicted[rows][chosen], happened[rows][chosen]
        ratios.append(mine.mean() / came.mean())
        slopes.append(slope(mine, came))
    mine, came = predicted[open_], happened[open_]
    parts = np.array_split(np.argsort(mine, kind="stable"), TENTHS)
    return {
        "expected": mine.mean(),
        "came": came.mean(),
        "ratio": (mine.mean() / came.mean(), *np.percentile(ratios, [2.5, 97.5])),
        "slope": (slope(mine, came), *np.percentile(slopes, [2.5, 97.5])),
        "tenths": [(mine[part].mean(), came[part].mean()) for part in parts],
        "least": max(1e-4, mine.min()),
    }


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


if __name__ == "__main__":
    Calibration.main()
