"""What is a minute of computation best spent on? Training data for an HMM, at equal cost.

    python -m studies.data.efficiency --sentences train.jsonl --dev runs/samples/commongen.dev \\
        --test runs/samples/commongen.test --concept_sets validation.jsonl --output runs/data_efficiency.jsonl \\
        --plot fig/data_efficiency.svg

Three sources: text *sampled* from the language model, sentences of the domain *read* by it (teacher-forced), *both*,
half the time each; and three ways to count emissions: *one-hot*, the text's own tokens, *soft*, samples of the language
model's next-token distribution, and *soft, then one-hot*, EM with the one after EM with the other. Every combination
gets as many sentences as --minutes of processor time of one thread pay for, at rates measured in the same run, samples
included; every seed has its own text. EM goes on while the likelihood of --dev rises; what is reported is that of
--test, both sampled from the language model, and CIDEr and log-probability of one sentence for each of some concept
sets, written under the constraint of its words with this HMM. Each result is a line of OUTPUT; what is there already is
not run again.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.adaptation.sentences import encode_sentences, read_sentences
from ctrlg.distillation.em.step import EMSettings, per_token
from ctrlg.distillation.first_hmm.latent import LatentSettings, SampledFile, latent_variable_distillation
from ctrlg.distillation.sampling.next_tokens import describe_next_tokens, read_next_tokens
from ctrlg.distillation.sampling.samples import Samples, SamplingSettings, sample, token_mask
from ctrlg.distillation.sampling.storage import read_sequences, write_samples
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.metrics.scores import evaluate
from ctrlg.evaluation.metrics.tokens import require_scorers
from ctrlg.evaluation.results import Written
from ctrlg.evaluation.writing import write_sentences
from ctrlg.figures import DARK, LIGHT, MIDDLE, new_figure
from ctrlg.files.records import markdown_rows, mean_and_deviation
from ctrlg.hmm import HMM
from studies.data.distilling import DistillationStudy
from studies.data.fitting import fit
from studies.data.teacher_forced import read_sentences_with
from studies.shared import Key, Line, Measured, StudyFlags

SOURCES = ("sampled", "read", "both")
ONE_HOT, SOFT, BOTH = COUNTS = ("one-hot", "soft", "soft, then one-hot")
PROBE = 400  # sentences that rates are measured on
MOST_STEPS = 30
PANELS = {
    "test": "held-out log-likelihood (nats per token)",
    "log_prob": "log-probability of constrained sentences",
    "cider": "CIDEr of constrained sentences",
}


class Rates(NamedTuple):
    """Processor seconds a sentence."""

    sampled: float
    read: float
    next_tokens: float


class Text(NamedTuple):
    """rows: int64 [sentences, T]. next_tokens: int32 [tokens, K], or None."""

    rows: Tensor
    next_tokens: Tensor | None


class Trained(NamedTuple):
    """The model with the best dev likelihood, that likelihood, and what it took. seconds: of the processor."""

    model: HMM
    dev: float
    steps: int
    seconds: float


class Efficiency(DistillationStudy):
    key = ("source", "counts", "seed")
    figures = ("figure",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--sentences", "--data_file", required=True, help="sentences of the domain, .txt, .jsonl, .json or .csv")
        add("--column", default="references", help="of sentences in the data file")
        add("--minutes", type=float, default=4.0, help="of processor time for the text")
        flags.share("model", "dev", "test", "max_new_tokens", "next_tokens", "one_hot_prior", "soft_prior", "beams")
        flags.share(hidden_states=256, concept_sets="", sets=30, seeds=[0, 1, 2])

    def check(self) -> None:
        if self.arguments.minutes <= 0:
            raise ArgumentError(f"minutes is {self.arguments.minutes}", hint="a few minutes of processor time")
        if self.arguments.concept_sets:
            require_scorers()
        torch.set_num_threads(1)

    def batches(self) -> Iterable[Sequence[Key]]:
        for seed, source in product(self.arguments.seeds, SOURCES):
            yield [(source, counts, seed) for counts in COUNTS]

    @cached_property
    def domain(self) -> list[str]:
        """Its sentences."""
        groups = read_sentences(self.arguments.sentences, self.arguments.column)
        return [sentence for group in groups for sentence in group]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """Distil on what the minutes pay for, in the wanted ways; likelihoods in nats per token."""
        source, _, seed = keys[0]
        wanted = [counts for _, counts, _ in keys]
        if ONE_HOT in wanted:
            text, first = self._first(source, self._sizes(source, 0.0), seed, next_tokens=False)
            yield (source, ONE_HOT, seed), self._judge(text, first, self._train(first, text.rows, None))
        if SOFT in wanted or BOTH in wanted:
            text, first = self._first(source, self._sizes(source, self.rates.next_tokens), seed, next_tokens=True)
            soft = self._train(first, text.rows, text.next_tokens)
            if SOFT in wanted:
                yield (source, SOFT, seed), self._judge(text, first, soft)
            if BOTH in wanted:
                then = self._train(soft.model, text.rows, None)
                both = Trained(then.model, then.dev, soft.steps + then.steps, soft.seconds + then.seconds)
                yield (source, BOTH, seed), self._judge(text, first, both)

    def _sizes(self, source: str, next_tokens: float) -> dict[str, int]:
        """Sentences of each kind of text. next_tokens: processor seconds a sentence that they cost on top."""
        seconds = 60 * self.arguments.minutes / (1 + (source == "both"))
        rates = {"sampled": self.rates.sampled, "read": self.rates.read}
        return {name: int(seconds / (rate + next_tokens)) for name, rate in rates.items() if source in (name, "both")}

    def _first(self, source: str, sizes: dict[str, int], seed: int, next_tokens: bool) -> tuple[Text, HMM]:
        """The text, its samples of next tokens where wanted, and the HMM that EM starts from."""
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for name, size in sizes.items():
                path = Path(folder) / name
                write_samples(path, self._text(name, size, seed))
                files.append(SampledFile.of(path))
            settings = LatentSettings(self.arguments.hidden_states, self.vocab_size, self.eos, seed=seed)
            device = self.arguments.device
            first = latent_variable_distillation(files, settings, self.head, device=device).hmm.to(device)
            rows = torch.cat([read_sequences(file.sequences) for file in files])
            return Text(rows, self._next_tokens(files, seed) if next_tokens else None), first

    def _train(self, start: HMM, rows: Tensor, next_tokens: Tensor | None) -> Trained:
        """EM until the likelihood of --dev falls."""
        strength = self.arguments.one_hot_prior if next_tokens is None else self.arguments.soft_prior
        started = time.process_time()
        best = fit(start, rows, self.dev, EMSettings(256), strength, next_tokens, MOST_STEPS)
        return Trained(best.model, best.held_out, best.steps, time.process_time() - started)

    def _judge(self, text: Text, first: HMM, trained: Trained) -> dict[str, float | int]:
        before, test = (per_token(model, self.test, 256) for model in (first, trained.model))
        return {
            "sentences": len(text.rows),
            "tokens": int(token_mask(text.rows, self.eos).sum()),
            "before": before,
            "dev": trained.dev,
            "test": test,
            "em_steps": trained.steps,
            "em_seconds": round(trained.seconds, 1),
            **self._write(trained.model),
        }

    def _write(self, hmm: HMM) -> dict[str, float | int]:
        """Mean CIDEr, and nats per token, of one sentence for each concept set."""
        if not self.arguments.concept_sets:
            return {}
        sentences = list(write_sentences(*self.models, hmm, list(self.sets.values()), self.arguments.beams))
        written = [Written(each.concept_set.number, each.concept_set.concepts, (each.best.text,)) for each in sentences]
        scores = evaluate(written, {number: each.references for number, each in self.sets.items()})
        return {
            "cider": scores["cider"].value,
            "bleu_4": scores["bleu_4"].value,
            "log_prob": statistics.mean(sentence.best.log_prob for sentence in sentences),
            "sets": len(sentences),
        }

    def _text(self, source: str, size: int, seed: int) -> Samples:
        if source == "sampled":
            generator = torch.Generator().manual_seed(seed)
            settings = SamplingSettings(self.arguments.max_new_tokens)
            parts = [
                sample(
                    self.models[0],
                    [self.eos],
                    min(250, size - start),
                    settings,
                    self.eos,
                    generator,
                    embeddings=True,
                )
                for start in range(0, size, 250)
            ]
            vectors = [part.embeddings for part in parts if part.embeddings is not None]
            return Samples(torch.cat([part.sequences for part in parts]), torch.cat(vectors))
        order = torch.randperm(len(self.domain), generator=torch.Generator().manual_seed(seed))
        if size > len(order):
            raise ArgumentError(
                f"{self.arguments.minutes} minutes read {size} sentences, there are {len(order)}", hint="fewer minutes"
            )
        chosen = [self.domain[index] for index in order[:size].tolist()]
        rows = encode_sentences(self.models[1], chosen, self.eos)
        return read_sentences_with(self.models[0], rows, self.arguments.max_new_tokens, self.eos)

    def _next_tokens(self, files: list[SampledFile], seed: int) -> Tensor:
        parts = []
        for file in files:
            describe_next_tokens(*file, self.head, self.arguments.next_tokens, self.vocab_size, self.eos, seed)
            mask = token_mask(read_sequences(file.sequences), self.eos)
            parts.append(read_next_tokens(file.sequences, mask, self.vocab_size))
        return torch.cat(parts)

    @cached_property
    def rates(self) -> Rates:
        """Measured on some sentences."""
        sampled, seconds_sampled = _timed(lambda: self._text("sampled", PROBE, seed=1_000_003))
        _, seconds_read = _timed(lambda: self._text("read", PROBE, seed=1_000_003))
        with tempfile.TemporaryDirectory() as folder:
            write_samples(Path(folder) / "probe", sampled)
            _, seconds_described = _timed(lambda: self._next_tokens([SampledFile.of(Path(folder) / "probe")], seed=0))
        rates = Rates(seconds_sampled / PROBE, seconds_read / PROBE, seconds_described / PROBE)
        self.say(f"processor seconds a sentence: {rates._asdict()}")
        return rates

    def table(self, lines: Sequence[Line]) -> str:
        """Means and standard deviations over seeds, a row for each source and way of counting."""
        columns = [column for column in PANELS if all(column in line for line in lines)]
        rows: list[list[str]] = [["text", "counts", "tokens", "EM steps", *(PANELS[column] for column in columns)]]
        for source, counts in product(SOURCES, COUNTS):
            mine = [line for line in lines if (line["source"], line["counts"]) == (source, counts)]
            if mine:
                sizes = [f"{statistics.mean(line[name] for line in mine):,.0f}" for name in ("tokens", "em_steps")]
                values = [mean_and_deviation([line[column] for line in mine]) for column in columns]
                rows.append([source, counts, *sizes, *values])
        return markdown_rows(rows)

    def figure(self, lines: Sequence[Line]) -> Any:
        """Likelihood, and what sentences are worth where that was measured, of each source and way of counting."""
        columns = [column for column in PANELS if all(column in line for line in lines)]
        figure = new_figure(4.5 * len(columns) + 1, 4)
        panels = figure.subplots(1, len(columns), squeeze=False)[0]
        for axes, column in zip(panels, columns, strict=True):
            _panel(axes, lines, column)
            axes.set_ylabel(PANELS[column])
        panels[0].legend(frameon=False, fontsize=8)
        figure.suptitle("Equal minutes of computation: points are seeds, lines their means")
        return figure


def _panel(axes: Any, lines: Sequence[Line], column: str) -> None:
    means = {}
    for counts, colour, shift, marker in zip(COUNTS, (LIGHT, MIDDLE, DARK), (-0.2, 0.0, 0.2), "s^o", strict=True):
        for place, source in enumerate(SOURCES):
            values = [line[column] for line in lines if (line["source"], line["counts"]) == (source, counts)]
            name = f"{counts} counts" if place == 0 else None
            axes.plot([place + shift] * len(values), values, marker, color=colour, markersize=5, label=name)
            if values:
                means[source, counts] = statistics.mean(values)
                axes.plot([place + shift - 0.08, place + shift + 0.08], [means[source, counts]] * 2, color=colour)
    best = max(means, key=lambda pair: means[pair])
    axes.set_xticks(range(len(SOURCES)), SOURCES)
    axes.set_xlabel("where the text comes from")
    axes.set_title(f"best: {best[0]} text, {best[1]} ({means[best]:.3f})", fontsize=9)
    axes.grid(axis="y", color="0.9")


def _timed(work: Any) -> tuple[Any, float]:
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


if __name__ == "__main__":
    Efficiency.main()
