"""Another domain: whose voice is it? A discrete HMM per speaker, quantised, on the UCI set JapaneseVowels.

    pip download --no-deps aeon && unzip aeon-*.whl 'aeon/datasets/data/JapaneseVowels/*' -d runs
    python -m studies.aware_em.speech --data runs/aeon/datasets/data/JapaneseVowels --output runs/speech.jsonl \\
        --plot fig/speech.svg

Nine speakers say two vowels: 270 utterances to train on, 370 to judge by, 7 to 29 frames of 12 coefficients (Kudo et
al. 1999). Frames become the nearest of --codewords centroids of the training frames (k-means), every speaker has an HMM
of --hidden_states states that EM has fitted, and an utterance belongs to whose HMM likes it best; utterances that
several like equally count as a share. Each HMM is then quantised by each method and bits. The seed draws centroids and
first HMMs. Each result is a line of OUTPUT; what is there already is not run again.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctrlg.distillation.em.step import EMSettings, em_step
from ctrlg.distillation.first_hmm.clusters import nearest_centroids, train_centroids
from ctrlg.errors import DataError, require_at_least
from ctrlg.figures import DARK, LIGHT, MIDDLE, check_figure_path, new_figure, save_figure
from ctrlg.files.reading import read_text
from ctrlg.files.records import StudyLines
from ctrlg.hmm import HMM
from ctrlg.hmm.inference import Parameters, log_likelihood
from ctrlg.quantization.comparison import comparison_hmm
from ctrlg.quantization.methods import METHODS
from ctrlg.terminal.console import as_program
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.plain_console import PlainConsole
from studies.aware_em.intervals import random_model

FLOAT = ("float32", 32)


class Utterances(NamedTuple):
    """frames: of each utterance, float32 [T, D]. speakers: int64 [n], from 0."""

    frames: list[Tensor]
    speakers: Tensor


def main() -> None:
    arguments = parse_arguments()
    require_at_least(arguments, {"codewords": 1, "hidden_states": 2, "steps": 1})
    if arguments.plot:
        check_figure_path(arguments.plot)
    training = read_utterances(Path(arguments.data) / "JapaneseVowels_TRAIN.ts")
    test = read_utterances(Path(arguments.data) / "JapaneseVowels_TEST.ts")
    results = StudyLines(arguments.output, ("method", "bits", "seed"))
    grid = [(name, bits) for name in METHODS for bits in arguments.bits if bits <= METHODS[name].most_bits]
    for seed in arguments.seeds:
        left = [setting for setting in [FLOAT, *grid] if (*setting, seed) not in results]
        if left:
            centroids = train_centroids(
                torch.cat(training.frames).numpy(), arguments.codewords, 30, seed, arguments.device
            )
            models = speakers_models(words(training, centroids), training.speakers, arguments, seed)
            tokens = words(test, centroids)
            for method, bits in left:
                share = accuracy([quantised(model, method, bits) for model in models], tokens, test.speakers)
                line = results.add((method, bits, seed), {"accuracy": share})
                PlainConsole().print(line, highlight=False, soft_wrap=True)
    if arguments.plot:
        draw(results.lines, arguments.plot)


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


def speakers_models(tokens: Tensor, speakers: Tensor, arguments: argparse.Namespace, seed: int) -> list[HMM]:
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


def draw(results: list[dict[str, Any]], path: str) -> None:
    """Accuracy against bits: means over seeds, bars are standard deviations."""
    figure = new_figure(7.5, 4.5)
    axes = figure.subplots()
    reference = [line["accuracy"] for line in results if line["method"] == FLOAT[0]]
    axes.axhline(statistics.mean(reference), color="0.6", linewidth=1, label="float32")
    for place, method in enumerate(dict.fromkeys(line["method"] for line in results if line["method"] != FLOAT[0])):
        lines = [line for line in results if line["method"] == method]
        bits = sorted({line["bits"] for line in lines})
        values = [[line["accuracy"] for line in lines if line["bits"] == number] for number in bits]
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
    save_figure(figure, path)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--data", required=True, help="folder of JapaneseVowels_TRAIN.ts and _TEST.ts")
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_argument("--plot", default="", help=".png, .svg or .pdf")
    parser.add_argument("--bits", nargs="+", type=int, default=[8, 6, 5, 4, 3, 2, 1])
    parser.add_argument("--codewords", type=int, default=64, help="centroids of frames (%(default)s)")
    parser.add_argument("--hidden_states", type=int, default=12, help="of every speaker's HMM (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="of EM (%(default)s)")
    parser.add_argument("--pseudocount", type=float, default=0.5, help="spread over every row of counts (%(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
