"""Whose voice is it? Another domain: a discrete HMM per speaker, quantized, on the UCI set JapaneseVowels.

    pip download --no-deps aeon && unzip aeon-*.whl 'aeon/datasets/data/JapaneseVowels/*' -d runs
    python -m studies.aware_em.speech --data runs/aeon/datasets/data/JapaneseVowels --output runs/speech.jsonl \\
        --plot fig/speech.svg

Nine speakers say two vowels: 270 utterances to train on, 370 to judge by, 7 to 29 frames of 12 coefficients (Kudo et
al. 1999). Frames become the nearest of --codewords centroids of the training frames (k-means), every speaker has an HMM
of --hidden_states states that EM has fitted, and an utterance belongs to whose HMM likes it best; utterances that
several like equally count as a share. Each HMM is then quantised by each method and bits. The seed samples centroids
and first HMMs. Each result is a line of OUTPUT; what is there already is not run again.
"""

from __future__ import annotations

import statistics
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctrlg.distillation.em.step import EMSettings, em_step
from ctrlg.distillation.first_hmm.clusters import nearest_centroids, train_centroids
from ctrlg.errors import DataError, require_at_least
from ctrlg.figures import DARK, LIGHT, MIDDLE, new_figure
from ctrlg.files.reading import read_text
from ctrlg.hmm import HMM
from ctrlg.hmm.inference import Parameters, log_likelihood
from ctrlg.quantization.comparison import comparison_hmm
from ctrlg.quantization.methods import METHODS
from studies.aware_em.intervals import random_model
from studies.shared import Key, Line, Measured, Study, StudyFlags, pivot

FLOAT = ("float32", 32)


class Utterances(NamedTuple):
    """frames: of each utterance, float32 [T, D]. speakers: int64 [n], from 0."""

    frames: list[Tensor]
    speakers: Tensor


class Speech(Study):
    key = ("method", "bits", "seed")
    figures = ("figure",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--data", required=True, help="folder of JapaneseVowels_TRAIN.ts and _TEST.ts")
        add("--codewords", type=int, default=64, help="centroids of frames")
        add("--pseudocount", type=float, default=0.5, help="spread over every row of counts")
        flags.share(bits=[8, 6, 5, 4, 3, 2, 1], hidden_states=12, steps=20, seeds=[0, 1, 2, 3, 4])

    def check(self) -> None:
        require_at_least(self.arguments, {"codewords": 1, "hidden_states": 2, "steps": 1})
        folder = Path(self.arguments.data)
        self.training = read_utterances(folder / "JapaneseVowels_TRAIN.ts")
        self.test = read_utterances(folder / "JapaneseVowels_TEST.ts")

    def batches(self) -> Iterable[Sequence[Key]]:
        bits = self.arguments.bits
        grid = [(name, number) for name in METHODS for number in bits if number <= METHODS[name].most_bits]
        return [[(*setting, seed) for setting in [FLOAT, *grid]] for seed in self.arguments.seeds]

    def measure(self, keys: Sequence[Key]) -> Measured:
        chosen, training, seed = self.arguments, self.training, keys[0][-1]
        frames = torch.cat(training.frames).numpy()
        centroids = train_centroids(frames, chosen.codewords, 30, seed, chosen.device)
        models = speakers_models(words(training, centroids), training.speakers, chosen, seed)
        tokens = words(self.test, centroids)
        for key in keys:
            left = [quantised(model, key[0], key[1]) for model in models]
            yield key, {"accuracy": accuracy(left, tokens, self.test.speakers)}

    def table(self, lines: Sequence[Line]) -> str:
        """Share of utterances whose speaker is found, mean ± standard deviation over seeds."""
        return pivot(lines, ("method",), "bits", "accuracy", " bits")

    def figure(self, lines: Sequence[Line]) -> Any:
        """Accuracy against bits: means over seeds, bars are standard deviations."""
        figure = new_figure(7.5, 4.5)
        axes = figure.subplots()
        reference = [line["accuracy"] for line in lines if line["method"] == FLOAT[0]]
        axes.axhline(statistics.mean(reference), color="0.6", linewidth=1, label="float32")
        for place, method in enumerate(dict.fromkeys(line["method"] for line in lines if line["method"] != FLOAT[0])):
            mine = [line for line in lines if line["method"] == method]
            bits = sorted({line["bits"] for line in mine})
            values = [[line["accuracy"] for line in mine if line["bits"] == number] for number in bits]
            spread = [statistics.stdev(group) if len(group) > 1 else 0.0 for group in values]
            shift = 0.04 * (place - len(METHODS) / 2)
            style = {"color": (DARK, MIDDLE, LIGHT)[place % 3], "linestyle": ("-", "--", ":", "-.")[place // 3]}
            axes.errorbar(
                [number + shift for number in bits], list(map(statistics.mean, values)), spread, label=method, **style
            )
        axes.set_xlabel("bits")
        axes.set_ylabel("utterances whose speaker is found")
        axes.set_title("JapaneseVowels: discrete HMMs of nine speakers, quantised")
        axes.grid(color="0.92")
        axes.legend(frameon=False, fontsize=8, ncols=2)
        return figure


def read_utterances(path: Path) -> Utterances:
    """An .ts file: a line per utterance, dimensions separated by colons, the speaker last, numbered from 1.

    Raises DataError where it is missing, or holds something else.
    """
    text = read_text(path, hint="the folder JapaneseVowels of the package aeon, see --help")
    lines = [line for line in text.split("\n") if line and line[0] not in "#@"]
    frames, speakers = [], []
    for number, line in enumerate(lines, start=1):
        *dimensions, speaker = line.split(":")
        try:
            rows = [[float(value) for value in dimension.split(",")] for dimension in dimensions]
            frames.append(torch.tensor(rows).T.contiguous())
            speakers.append(int(speaker) - 1)
        except ValueError as error:
            raise DataError(f"{path}, utterance {number}: {error}", hint="numbers, ',' and ':' alone") from error
    if not frames or len({utterance.shape[1] for utterance in frames}) != 1:
        raise DataError(f"{path} holds no utterances of one width", hint="is it JapaneseVowels?")
    return Utterances(frames, torch.tensor(speakers))


def words(utterances: Utterances, centroids: Tensor) -> Tensor:
    """Codewords of every utterance, int64 [n, longest + 1], padded by the end-of-text token, which is K."""
    end = len(centroids)
    longest = max(map(len, utterances.frames))
    rows = torch.full((len(utterances.frames), longest + 1), end)
    for row, frames in zip(rows, utterances.frames, strict=True):
        row[: len(frames)] = nearest_centroids(frames, centroids)
    return rows


def speakers_models(tokens: Tensor, speakers: Tensor, arguments: Namespace, seed: int) -> list[HMM]:
    """An HMM for each speaker, by EM from a random one."""
    models = []
    for speaker in range(int(speakers.max()) + 1):
        model = random_model(
            arguments.hidden_states, arguments.codewords + 1, arguments.codewords, 100 * seed + speaker
        ).to(arguments.device)
        rows = tokens[speakers == speaker]
        for step in range(arguments.steps):
            em_step(model, rows, EMSettings(pseudocount=arguments.pseudocount), step=step)
        models.append(model)
    return models


def quantised(model: HMM, method: str, bits: int) -> Parameters:
    """What a method leaves of the model, a distribution or not."""
    hmm = model if (method, bits) == FLOAT else comparison_hmm(model, method, bits)
    return Parameters(hmm.transition, hmm.emission, hmm.initial)


def accuracy(models: list[Parameters], tokens: Tensor, speakers: Tensor) -> float:
    """Share of utterances int64 [n, T] whose speaker's model has the highest forward score; ties in shares."""
    scores = [log_likelihood(model, tokens.to(model.initial.device)).cpu() for model in models]
    joined = torch.stack(scores, dim=1).nan_to_num(nan=-np.inf)
    best = joined == joined.amax(1, keepdim=True)
    right = best.gather(1, speakers[:, None])[:, 0].double()
    return float((right / best.sum(1)).mean())


if __name__ == "__main__":
    Speech.main()
