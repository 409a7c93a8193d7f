"""How does an HMM's held-out likelihood fall with data, and with states?

    python -m studies.data.scaling --training runs/samples/commongen.train.[0-7] --dev runs/samples/commongen.dev \\
        --test runs/samples/commongen.test --files 1 2 4 8 --states 128 256 512 1024 --seeds 0 1 2 \\
        --output runs/scaling.jsonl --plot fig/scaling.svg

Each cell distils from so many files of sampled sequences (embeddings beside them; the seed says which) into so many
states, by EM with soft emission counts and then with the sampled tokens themselves, as `ctrlg distill` does, each until
the likelihood of --dev falls; reported is that of --test. Each result is a line of OUTPUT; what is there already is not
run again.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ctrlg.adaptation.sentences import end_of_text_id
from ctrlg.devices import fast_dtype
from ctrlg.distillation.em.step import EMSettings, per_token
from ctrlg.distillation.first_hmm.latent import LatentSettings, SampledFile, latent_variable_distillation
from ctrlg.distillation.likelihoods import language_model_log_likelihood
from ctrlg.distillation.sampling.next_tokens import SUFFIX, describe_next_tokens, read_next_tokens
from ctrlg.distillation.sampling.output_layer import output_layer
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.errors import ArgumentError
from ctrlg.figures import DARK, LIGHT, MIDDLE, check_figure_path, new_figure, save_figure
from ctrlg.files.folders import HMM_FOLDER, atomic_folder, check_folder
from ctrlg.files.records import StudyLines, markdown_rows, mean_and_deviation
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.plain_console import PlainConsole
from studies.data.fitting import fit


def main() -> None:
    arguments = parse_arguments()
    if max(arguments.files) > len(arguments.training):
        raise ArgumentError(
            f"--files {max(arguments.files)}, but {len(arguments.training)} were named", hint="name more, or take fewer"
        )
    if arguments.plot:
        check_figure_path(arguments.plot)
    for seed, files, states in product(arguments.seeds, arguments.files, arguments.states):
        if arguments.models:
            check_folder(model_folder(arguments.models, files, states, seed), HMM_FOLDER)
    results = StudyLines(arguments.output, ("files", "states", "seed"))
    study: Study | None = None
    for seed, files, states in product(arguments.seeds, arguments.files, arguments.states):
        if (files, states, seed) not in results:
            study = study or Study(arguments)
            line = results.add((files, states, seed), study.run(files, states, seed))
            PlainConsole().print(line, highlight=False, soft_wrap=True)
    say(table(results.lines))
    if arguments.plot:
        draw(results.lines, arguments.plot)


def model_folder(models: str, files: int, states: int, seed: int) -> Path:
    """Where a distilled HMM is kept."""
    return Path(models) / f"{files}-files-{states}-states-seed-{seed}"


class Study:
    """The language model's output layer, and the held-out sequences."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        model, tokenizer = load_language_model(
            arguments.model_name_or_path, arguments.device, fast_dtype(arguments.device)
        )
        self.eos = end_of_text_id(tokenizer)
        self.head = output_layer(model)
        self.vocab_size = int(self.head.weight.shape[0])
        self.dev, self.test = read_sequences(arguments.dev), read_sequences(arguments.test)
        self.language_model = language_model_log_likelihood(model, [[self.eos]], self.test, self.eos)

    def run(self, count: int, states: int, seed: int) -> dict[str, float | int]:
        """Distil from `count` files; likelihoods in nats per token."""
        order = torch.randperm(len(self.arguments.training), generator=torch.Generator().manual_seed(seed))
        files = [SampledFile.of(Path(self.arguments.training[index])) for index in order[:count].tolist()]
        started = time.monotonic()
        settings = LatentSettings(states, self.vocab_size, self.eos, seed=seed)
        device = self.arguments.device
        first = latent_variable_distillation(files, settings, self.head, device=device).hmm.to(device)
        rows = torch.cat([read_sequences(file.sequences) for file in files])
        next_tokens = torch.cat([self._draws(file) for file in files])
        em = EMSettings(self.arguments.batch_size, bfloat16=fast_dtype(device) == torch.bfloat16)
        arguments = self.arguments
        soft = fit(first, rows, self.dev, em, arguments.soft_prior, next_tokens, arguments.soft_steps)
        best = fit(soft.model, rows, self.dev, em, arguments.one_hot_prior, None, arguments.one_hot_steps)
        if arguments.models:
            with atomic_folder(model_folder(arguments.models, count, states, seed), HMM_FOLDER) as folder:
                best.model.save_pretrained(folder)
        return {
            "tokens": int(token_mask(rows, self.eos).sum()),
            "before": per_token(first, self.test, 256),
            "dev": best.held_out,
            "soft": per_token(soft.model, self.test, 256),
            "test": per_token(best.model, self.test, 256),
            "em_steps": soft.steps + best.steps,
            "seconds": round(time.monotonic() - started, 1),
            "language_model": self.language_model,
        }

    def _draws(self, file: SampledFile) -> Tensor:
        """Those beside the file, drawn now where there are none."""
        mask = token_mask(read_sequences(file.sequences), self.eos)
        if not Path(f"{file.sequences}{SUFFIX}").is_file():
            describe_next_tokens(*file, self.head, self.arguments.draws, self.vocab_size, self.eos, seed=0)
        return read_next_tokens(file.sequences, mask, self.vocab_size)


def table(results: list[dict[str, Any]]) -> str:
    """Held-out likelihood, a row for each amount of text, a column for each number of states."""
    states = sorted({line["states"] for line in results})
    rows: list[list[str]] = [["tokens", *(f"{count:,} states" for count in states)]]
    for files in sorted({line["files"] for line in results}):
        tokens = statistics.mean(line["tokens"] for line in results if line["files"] == files)
        cells = [
            [line["test"] for line in results if (line["files"], line["states"]) == (files, count)] for count in states
        ]
        rows.append([f"{tokens:,.0f}", *(mean_and_deviation(cell) if cell else "" for cell in cells)])
    return markdown_rows(rows)


def draw(results: list[dict[str, Any]], path: str | Path) -> None:
    """Likelihood against tokens, a line for each number of states, and against states, one for each amount of data."""
    figure = new_figure(11, 4)
    token_means = {
        files: statistics.mean(line["tokens"] for line in results if line["files"] == files)
        for files in {line["files"] for line in results}
    }
    for axes, across, along, label in zip(
        figure.subplots(1, 2, sharey=True),
        ("files", "states"),
        ("states", "files"),
        ("tokens of sampled text", "states"),
        strict=True,
    ):
        groups = sorted({line[along] for line in results})
        for place, group in enumerate(groups):
            lines = [line for line in results if line[along] == group]
            columns = sorted({line[across] for line in lines})
            x = [token_means[column] if across == "files" else column for column in columns]
            y = [[line["test"] for line in lines if line[across] == c] for c in columns]
            colour = (LIGHT, MIDDLE, DARK, "0.4")[place % 4]
            name = f"{group:,} states" if along == "states" else f"{token_means[group] / 1e3:,.0f}k tokens"
            axes.plot(x, list(map(statistics.mean, y)), "o-", color=colour, label=name, markersize=4)
            for at, values in zip(x, y, strict=True):
                axes.plot([at] * len(values), values, ".", color=colour, markersize=3)
        axes.set_xscale("log")
        places = sorted({line["states"] for line in results} if across == "states" else token_means.values())
        axes.set_xticks(places, [f"{place:,}" if across == "states" else f"{place / 1e3:,.0f}k" for place in places])
        axes.minorticks_off()
        axes.set_xlabel(label)
        axes.grid(color="0.92")
        axes.legend(frameon=False, fontsize=8)
    best = max(results, key=lambda line: line["test"])
    figure.axes[0].set_ylabel("held-out log-likelihood (nats per token)")
    figure.suptitle(
        f"Best: {best['states']:,} states from {best['tokens'] / 1e3:,.0f}k tokens, {best['test']:.3f} "
        f"(language model {best['language_model']:.3f})"
    )
    save_figure(figure, path)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--model_name_or_path", default="default", help="that was sampled (%(default)s)")
    parser.add_argument("--training", nargs="+", required=True, help="files of sampled sequences")
    parser.add_argument("--dev", required=True, help="sampled sequences that stop EM")
    parser.add_argument("--test", required=True, help="sampled sequences that are reported on")
    parser.add_argument("--files", type=int, nargs="+", default=[1, 2, 4], help="numbers of files (%(default)s)")
    parser.add_argument("--states", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument(
        "--draws", type=int, default=32, help="next tokens a place where no file has them (%(default)s)"
    )
    parser.add_argument("--soft_prior", type=float, default=50.0, help="observations a state (%(default)s)")
    parser.add_argument("--one_hot_prior", type=float, default=1000.0, help="observations a state (%(default)s)")
    parser.add_argument("--soft_steps", type=int, default=20, help="of EM, at most (%(default)s)")
    parser.add_argument("--one_hot_steps", type=int, default=5, help="of EM, at most (%(default)s)")
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_argument("--models", default="", help="folder to keep the trained HMMs in")
    parser.add_argument("--plot", default="", help=".png, .svg or .pdf")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
