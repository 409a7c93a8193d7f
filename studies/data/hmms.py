"""What are more states, or other seeds, worth after compression? Likelihood and sentences of several HMMs.

    python -m studies.data.hmms --hmms runs/seeds/* --grid float32 norm-q:8 column:8 none:8 --masks hard soft \\
        --test runs/samples/commongen.test --data validation.jsonl --limit 30 --output runs/seeds-written
    python -m studies.data.hmms --hmms runs/sizes/* --grid float32 log-norm-q:4 norm-q:8 --masks hard soft \\
        --test runs/samples/commongen.test --data validation.jsonl --output runs/sizes-written \\
        --plot fig/sizes.svg

An HMM is a folder with a float model, as `studies.data.scaling --models` leaves them; those of one number of states are
taken for trainings of the same thing, and their mean and standard deviation are shown. OUTPUT is a folder: a benchmark
file for every HMM, and held_out.jsonl; what is there already is not computed again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.benchmark import float_hmm, run_benchmark
from ctrlg.evaluation.benchmark_settings import BenchmarkSettings
from ctrlg.evaluation.concept_sets import read_concept_sets
from ctrlg.evaluation.grid import Grid, Setting
from ctrlg.evaluation.metrics.tokens import require_scorers
from ctrlg.evaluation.output import KEY as BENCHMARK_KEY
from ctrlg.evaluation.tables import Row, rows_of
from ctrlg.figures import DARK, LIGHT, MIDDLE, new_figure
from ctrlg.files.records import StudyLines, markdown_rows, mean_and_deviation, read_study
from ctrlg.hmm import SequenceModel
from ctrlg.inspection.fidelity import held_out_log_likelihood
from studies.shared import Key, Line, Measured, Study, StudyFlags

SHOWN = {"held_out": "held-out", "success": "success", "bleu_4": "BLEU-4", "cider": "CIDEr"}
SHOWN |= {"log_prob": "log-probability", "symbolic": "ms a token, symbolic", "bytes": "bytes"}
PANELS = {"held_out": "held-out log-likelihood (nats per token)", "cider": "CIDEr"}
PANELS |= {"symbolic": "symbolic time (ms a token)", "bytes": "bytes of transition and emission"}
"""What is plotted against states, under the hard mask."""


class Group(NamedTuple):
    """HMMs of one size, compressed and masked in one way."""

    states: int
    method: str
    bits: int | None
    mask: str | None


Values = Mapping[Group, Sequence[Mapping[str, float]]]


class SeveralHMMs(Study):
    key = ("hmm", "method", "bits")
    figures = ("figure",)
    for_table = ("concept_sets",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--hmms", nargs="+", required=True, help="folders of float HMMs")
        flags.add_argument("--grid", nargs="+", required=True, help="as test_benchmark.py: norm-q:8,4 float32")
        flags.share("model", "test", "concept_sets", "masks", beams=16, sets=50)

    def check(self) -> None:
        require_scorers()
        names = [Path(folder).name for folder in self.arguments.hmms]
        if len(set(names)) < len(names):
            raise ArgumentError(
                "two HMMs have a folder of the same name", hint="results are filed under it: rename one"
            )
        self.folders = dict(zip(names, self.arguments.hmms, strict=True))
        self.grid = Grid.parse(self.arguments.grid)
        self.held_out = read_sequences(self.arguments.test)

    def results(self) -> StudyLines:
        return StudyLines(Path(self.arguments.output) / "held_out.jsonl", self.key)

    def batches(self) -> Iterable[Sequence[Key]]:
        return [[(name, *setting) for setting in self.grid] for name in self.folders]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """Held-out log-likelihood in nats per token of an HMM in some ways; None where it is no distribution."""
        reference = float_hmm(self.folders[keys[0][0]], self.arguments.device)
        for name, *setting in keys:
            hmm = Setting(*setting).guide(reference)
            value = held_out_log_likelihood(hmm, self.held_out) if isinstance(hmm, SequenceModel) else None
            yield (name, *setting), {"held_out": value, "states": reference.hidden_states}

    @cached_property
    def benchmarks(self) -> Mapping[str, Sequence[Line]]:
        """The benchmark of every HMM under all masks, written where it is not there; only read to summarize."""
        if path := self.arguments.summarize:
            names = dict.fromkeys(line["hmm"] for line in self.known(path))
            return {name: read_study(Path(path).with_name(f"{name}.jsonl"), BENCHMARK_KEY) for name in names}
        return {name: self.written(name, folder) for name, folder in self.folders.items()}

    def written(self, name: str, folder: str) -> Sequence[Line]:
        """The lines of one HMM's benchmark, all masks."""
        chosen, lines = self.arguments, []
        for mask in chosen.masks:
            self.say(f"{name}, {mask} mask")
            settings = BenchmarkSettings(
                hmm=folder,
                model=chosen.model,
                data=chosen.concept_sets,
                output=str(Path(chosen.output) / f"{name}.jsonl"),
                beams=chosen.beams,
                limit=chosen.sets,
                soft_mask=mask == "soft",
                device=chosen.device,
            )
            lines = run_benchmark(settings, self.grid).lines
        return lines

    def digest(self, lines: Sequence[Line]) -> Values:
        """What HMMs of one size do in each way."""
        references = {each.number: each.references for each in read_concept_sets(self.arguments.concept_sets)}
        likelihoods = {tuple(line[name] for name in self.key): line for line in lines}
        values: dict[Group, list[Mapping[str, float]]] = defaultdict(list)
        for name, benchmark in self.benchmarks.items():
            for row in rows_of(benchmark, references):
                likelihood = likelihoods[name, row.method, row.bits]
                values[Group(likelihood["states"], row.method, row.bits, row.mask)].append(figures_of(row, likelihood))
        return values

    def table(self, lines: Values) -> str:
        """A row for every number of states, method, bits and mask: mean and standard deviation over HMMs."""
        rows: list[list[object]] = [["states", "HMMs", "method", "bits", "mask", *SHOWN.values()]]
        for group, members in sorted(lines.items(), key=lambda item: (item[0].mask or "", item[0].states)):
            cells = [_cell(name, [member[name] for member in members if name in member]) for name in SHOWN]
            rows.append([f"{group.states:,}", len(members), group.method, group.bits, group.mask, *cells])
        return markdown_rows(rows)

    def figure(self, lines: Values) -> Any:
        """Four panels against the number of states, a line for each way."""
        figure = new_figure(12, 6.5)
        hard = {group: members for group, members in lines.items() if group.mask == "hard"}
        ways = list(dict.fromkeys((group.method, group.bits) for group in hard))
        for axes, (name, label) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
            for place, (method, bits) in enumerate(ways):
                groups = sorted(group for group in hard if (group.method, group.bits) == (method, bits))
                points = [
                    (group.states, member[name]) for group in groups for member in hard[group] if member.get(name)
                ]
                style = {"color": (DARK, MIDDLE, LIGHT, "0.5")[place % 4], "marker": "os^D"[place % 4], "markersize": 5}
                title = method if method == "float32" else f"{method}, {bits} bits"
                axes.plot(*zip(*points, strict=True) if points else ([], []), label=title, **style)
            axes.set_xscale("log", base=2)
            axes.set_xticks(states := sorted({group.states for group in hard}), [f"{count:,}" for count in states])
            if name in ("symbolic", "bytes"):
                axes.set_yscale("log")
            axes.set_xlabel("states")
            axes.set_ylabel(label)
            axes.grid(color="0.92")
        figure.axes[0].legend(frameon=False, fontsize=8)
        figure.suptitle("What more states are worth, and what they cost")
        return figure


def figures_of(row: Row, likelihood: Mapping[str, Any]) -> dict[str, float]:
    """What is shown of one HMM in one way: mean scores, and what it takes."""
    found = {name: score.value for name, score in row.scores.items() if name in SHOWN}
    others = {"held_out": likelihood["held_out"], "symbolic": row.symbolic, "bytes": row.bytes}
    return found | {name: value for name, value in others.items() if value is not None}


def _cell(name: str, values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{round(sum(values) / len(values)):,}" if name == "bytes" else mean_and_deviation(values)


if __name__ == "__main__":
    SeveralHMMs.main()
