"""What is a minute of computation best spent on? Training data for an HMM, at equal cost.

    python scripts/data_efficiency.py --data_file train.jsonl --dev runs/samples/commongen.dev \\
        --test runs/samples/commongen.test --concept_sets validation.jsonl --output runs/data_efficiency.jsonl \\
        --plot fig/data_efficiency.svg

Three sources: text *sampled* from the language model, sentences of the domain *read* by it (teacher-forced), *both*,
half the time each; and two ways to count emissions: *one-hot*, the text's own tokens, and *soft*, draws of the language
model's next-token distribution. Every combination gets as many sentences as --minutes of processor time of one thread
pay for, at rates measured in the same run, draws included; every seed has its own text. EM goes on while the likelihood
of --dev rises; what is reported is that of --test, both sampled from the language model, and CIDEr of one sentence for
each of some concept sets, written under the promise of its words with this HMM. Each result is a line of OUTPUT; what
is there already is not run again.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from ctrlg.console import errors_as_messages
from ctrlg.distillation.fitting import fit
from ctrlg.distillation.latent import LatentSettings, SampledFile, latent_variable_distillation
from ctrlg.distillation.next_tokens import describe_next_tokens, read_next_tokens
from ctrlg.distillation.output_layer import output_layer
from ctrlg.distillation.reading import read_sentences_with
from ctrlg.distillation.sampling import Samples, SamplingSettings, sample, token_mask
from ctrlg.distillation.sentences import encode_sentences, end_of_text_id, read_sentences
from ctrlg.distillation.storage import read_sequences, write_samples
from ctrlg.distillation.training import EMSettings, per_token
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.concept_sets import read_concept_sets
from ctrlg.evaluation.results import Written
from ctrlg.evaluation.scores import evaluate
from ctrlg.evaluation.tokens import require_scorers
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS, best_sentence
from ctrlg.figures import DARK, MIDDLE, check_figure_path, new_figure, save_figure
from ctrlg.files import append_line, read_lines, writable_folder
from ctrlg.hmm import HMM
from ctrlg.models import fast_dtype, load_language_model

SOURCES = ("sampled", "read", "both")
COUNTS = ("one-hot", "soft")
PROBE = 400  # sentences that rates are measured on
MOST_STEPS = 30


class Rates(NamedTuple):
    """Processor seconds a sentence."""

    sampled: float
    read: float
    draws: float


def main() -> None:
    arguments = parse_arguments()
    if arguments.minutes <= 0:
        raise ArgumentError(f"minutes is {arguments.minutes}", hint="a few minutes of processor time")
    if arguments.plot:
        check_figure_path(arguments.plot)
    if arguments.concept_sets:
        require_scorers()
    output = Path(arguments.output)
    writable_folder(output.parent)
    torch.set_num_threads(1)
    results = read_lines(output)
    done = {(line["source"], line["counts"], line["seed"]) for line in results}
    study: Study | None = None
    for seed, source, counts in product(arguments.seeds, SOURCES, COUNTS):
        if (source, counts, seed) in done:
            continue
        study = study or Study(arguments)
        line = {"source": source, "counts": counts, "seed": seed, **study.run(source, counts, seed)}
        append_line(output, line)
        results.append(line)
        Console().print(line, highlight=False, soft_wrap=True)
    if arguments.plot:
        draw(results, arguments.plot)


class Study:
    """The language model, the domain's sentences, and what a sentence costs."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.model, tokenizer = load_language_model(arguments.model_name_or_path, dtype=fast_dtype())
        self.eos = end_of_text_id(tokenizer)
        self.head = output_layer(self.model)
        self.vocab_size = int(self.head.weight.shape[0])
        groups = read_sentences(arguments.data_file, arguments.column)
        self.sentences = [sentence for group in groups for sentence in group]
        self.tokenizer = tokenizer
        self.concept_sets = []
        if arguments.concept_sets:
            self.concept_sets = read_concept_sets(arguments.concept_sets, arguments.sets)
        self.dev, self.test = read_sequences(arguments.dev), read_sequences(arguments.test)
        self.rates = self._measure()
        Console().print(f"processor seconds a sentence: {self.rates._asdict()}", highlight=False)

    def run(self, source: str, counts: str, seed: int) -> dict[str, float | int]:
        """Distil on what the minutes pay for; likelihoods in nats per token."""
        arguments = self.arguments
        draws = self.rates.draws if counts == "soft" else 0.0
        seconds = {name: 60 * arguments.minutes / (1 + (source == "both")) for name in ("sampled", "read")}
        sizes = {
            name: int(seconds[name] / (getattr(self.rates, name) + draws)) if source in (name, "both") else 0
            for name in seconds
        }
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for name, size in sizes.items():
                if size:
                    path = Path(folder) / name
                    write_samples(path, self._text(name, size, seed))
                    files.append(SampledFile.of(path))
            settings = LatentSettings(arguments.hidden_states, self.vocab_size, self.eos, seed=seed)
            first = latent_variable_distillation(files, settings, self.head).hmm
            rows = torch.cat([read_sequences(file.sequences) for file in files])
            next_tokens = self._draws(files, seed) if counts == "soft" else None
            likelihoods, best = self._train(first, rows, next_tokens)
            sizes = {"sentences": len(rows), "tokens": int(token_mask(rows, self.eos).sum())}
            return {**sizes, **likelihoods, **self._write(best)}

    def _write(self, hmm: HMM) -> dict[str, float | int]:
        """Mean CIDEr of one sentence for each concept set."""
        if not self.concept_sets:
            return {}
        written = []
        for concept_set in self.concept_sets:
            promise = concept_set.promise(LEAST_WORDS, MOST_WORDS)
            best = best_sentence(self.model, self.tokenizer, hmm, promise, self.arguments.beams)
            written.append(Written(concept_set.number, concept_set.concepts, (best.text,)))
        scores = evaluate(written, {concept_set.number: concept_set.references for concept_set in self.concept_sets})
        return {"cider": scores["cider"].value, "bleu_4": scores["bleu_4"].value, "sets": len(written)}

    def _train(self, first: HMM, rows: Tensor, next_tokens: Tensor | None) -> tuple[dict[str, float | int], HMM]:
        """Likelihoods, and the model with the best of --dev."""
        strength = self.arguments.one_hot_prior if next_tokens is None else self.arguments.soft_prior
        started = time.process_time()
        best = fit(first, rows, self.dev, EMSettings(256), strength, next_tokens, MOST_STEPS)
        seconds = round(time.process_time() - started, 1)
        before, test = (per_token(model, self.test, 256) for model in (first, best.model))
        values = {"before": before, "dev": best.held_out, "test": test, "em_steps": best.steps, "em_seconds": seconds}
        return values, best.model

    def _text(self, source: str, size: int, seed: int) -> Samples:
        if source == "sampled":
            generator = torch.Generator().manual_seed(seed)
            settings = SamplingSettings(self.arguments.max_new_tokens)
            parts = [
                sample(self.model, [self.eos], min(250, size - start), settings, self.eos, generator, embeddings=True)
                for start in range(0, size, 250)
            ]
            vectors = [part.embeddings for part in parts if part.embeddings is not None]
            return Samples(torch.cat([part.sequences for part in parts]), torch.cat(vectors))
        order = torch.randperm(len(self.sentences), generator=torch.Generator().manual_seed(seed))
        if size > len(order):
            raise ArgumentError(
                f"{self.arguments.minutes} minutes read {size} sentences, there are {len(order)}", hint="fewer minutes"
            )
        chosen = [self.sentences[index] for index in order[:size].tolist()]
        rows = encode_sentences(self.tokenizer, chosen, self.eos)
        return read_sentences_with(self.model, rows, self.arguments.max_new_tokens, self.eos)

    def _draws(self, files: list[SampledFile], seed: int) -> Tensor:
        parts = []
        for file in files:
            describe_next_tokens(*file, self.head, self.arguments.draws, self.vocab_size, self.eos, seed)
            mask = token_mask(read_sequences(file.sequences), self.eos)
            parts.append(read_next_tokens(file.sequences, mask, self.vocab_size))
        return torch.cat(parts)

    def _measure(self) -> Rates:
        sampled, seconds_sampled = _timed(lambda: self._text("sampled", PROBE, seed=1_000_003))
        _, seconds_read = _timed(lambda: self._text("read", PROBE, seed=1_000_003))
        with tempfile.TemporaryDirectory() as folder:
            write_samples(Path(folder) / "probe", sampled)
            _, seconds_drawn = _timed(lambda: self._draws([SampledFile.of(Path(folder) / "probe")], seed=0))
        return Rates(seconds_sampled / PROBE, seconds_read / PROBE, seconds_drawn / PROBE)


def _timed(work: Any) -> tuple[Any, float]:
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def draw(results: list[dict[str, Any]], path: str | Path) -> None:
    """Likelihood, and CIDEr where it was measured, of each source and way of counting: means, every seed."""
    with_cider = all("cider" in line for line in results)
    figure = new_figure(6.5 * (1 + with_cider), 4)
    panels = figure.subplots(1, 1 + with_cider, squeeze=False)[0]
    _panel(panels[0], results, "test", "held-out log-likelihood (nats per token)")
    if with_cider:
        _panel(panels[1], results, "cider", "CIDEr of constrained sentences")
    panels[0].legend(frameon=False)
    save_figure(figure, path)


def _panel(axes: Any, results: list[dict[str, Any]], column: str, label: str) -> None:
    means = {}
    for counts, colour, shift, marker in zip(COUNTS, (MIDDLE, DARK), (-0.12, 0.12), ("s", "o"), strict=True):
        for place, source in enumerate(SOURCES):
            values = [line[column] for line in results if (line["source"], line["counts"]) == (source, counts)]
            name = f"{counts} counts" if place == 0 else None
            axes.plot([place + shift] * len(values), values, marker, color=colour, markersize=5, label=name)
            if values:
                means[source, counts] = statistics.mean(values)
                axes.plot([place + shift - 0.08, place + shift + 0.08], [means[source, counts]] * 2, color=colour)
    best = max(means, key=lambda pair: means[pair])
    axes.set_xticks(range(len(SOURCES)), SOURCES)
    axes.set_xlabel("where the text comes from")
    axes.set_ylabel(label)
    axes.set_title(f"Best at equal cost: {best[0]} text, {best[1]} counts ({means[best]:.3f})")
    axes.grid(axis="y", color="0.9")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", default="default", help="sampled, and reads")
    parser.add_argument("--data_file", required=True, help="sentences of the domain, .txt, .jsonl, .json or .csv")
    parser.add_argument("--column", default="references", help="of sentences in the data file (%(default)s)")
    parser.add_argument("--dev", required=True, help="sampled sequences that stop EM")
    parser.add_argument("--test", required=True, help="sampled sequences that are reported on")
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_argument("--plot", default="", help=".png, .svg or .pdf")
    parser.add_argument("--minutes", type=float, default=4.0, help="of processor time for the text (%(default)s)")
    parser.add_argument("--hidden_states", type=int, default=256)
    parser.add_argument("--max_new_tokens", type=int, default=32)
    parser.add_argument("--draws", type=int, default=32, help="of next tokens a place (%(default)s)")
    parser.add_argument("--one_hot_prior", type=float, default=300.0, help="observations a state (%(default)s)")
    parser.add_argument("--soft_prior", type=float, default=50.0, help="observations a state (%(default)s)")
    parser.add_argument("--concept_sets", default="", help="CommonGen's validation.jsonl, for CIDEr")
    parser.add_argument("--sets", type=int, default=30, help="of them (%(default)s)")
    parser.add_argument("--beams", type=int, default=8, help="that write a sentence (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return parser.parse_args()


if __name__ == "__main__":
    with errors_as_messages():
        main()
