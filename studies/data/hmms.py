"""Several HMMs, each compressed in several ways: held-out likelihood, and what they write for CommonGen's concept sets.

    python -m studies.data.hmms --hmms runs/seeds/* --grid float32 norm-q:8 column:8 none:8 --masks hard soft \\
        --test runs/samples/commongen.test --dataset_path validation.jsonl --limit 30 --output runs/seeds-written
    python -m studies.data.hmms --hmms runs/sizes/* --grid float32 log-norm-q:4 norm-q:8 --masks hard soft \\
        --test runs/samples/commongen.test --dataset_path validation.jsonl --output runs/sizes-written \\
        --plot fig/sizes.svg

An HMM is a folder with a float model, as scaling_study.py --models leaves them; those of one number of states are taken
for trainings of the same thing, and their mean and standard deviation are shown. OUTPUT is a folder: a benchmark file
for every HMM, and held_out.jsonl; what is there already is not computed again.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.markup import escape
from rich.progress import Progress
from torch import Tensor

from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.benchmark import BenchmarkSettings, Setting, float_hmm, guide, parse_grid, run_benchmark
from ctrlg.evaluation.concept_sets import read_concept_sets
from ctrlg.evaluation.metrics.tokens import require_scorers
from ctrlg.evaluation.tables import Row, rows_of
from ctrlg.figures import DARK, LIGHT, MIDDLE, check_figure_path, new_figure, save_figure
from ctrlg.files.records import StudyLines, markdown_rows, mean_and_deviation
from ctrlg.hmm import SequenceModel
from ctrlg.inspection.fidelity import held_out_log_likelihood
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.plain_console import PlainConsole
from ctrlg.terminal.text import visible

SHOWN = {"held_out": "held-out", "success": "success", "bleu_4": "BLEU-4", "cider": "CIDEr"}
SHOWN |= {"log_prob": "log-probability", "symbolic": "ms a token, symbolic", "bytes": "bytes"}
PANELS = {"held_out": "held-out log-likelihood (nats per token)", "cider": "CIDEr"}
PANELS |= {"symbolic": "symbolic time (ms a token)", "bytes": "bytes of transition and emission"}
"""What is drawn against states, under the hard mask."""


class Group(NamedTuple):
    """HMMs of one size, compressed and masked in one way."""

    states: int
    method: str
    bits: int | None
    mask: str | None


def main() -> None:
    arguments = parse_arguments()
    require_scorers()
    if arguments.plot:
        check_figure_path(arguments.plot)
    names = [Path(folder).name for folder in arguments.hmms]
    if len(set(names)) < len(names):
        raise ArgumentError("two HMMs have a folder of the same name", hint="results are filed under it: rename one")
    grid = parse_grid(arguments.grid)
    references = {each.number: each.references for each in read_concept_sets(arguments.dataset_path)}
    held_out = StudyLines(Path(arguments.output) / "held_out.jsonl", ("hmm", "method", "bits"))
    score(arguments.hmms, grid, read_sequences(arguments.test), held_out, arguments.device)
    benchmarks = {folder: write(folder, grid, arguments) for folder in arguments.hmms}
    values: dict[Group, list[Mapping[str, float]]] = defaultdict(list)
    for folder, lines in benchmarks.items():
        likelihoods = {
            (line["method"], line["bits"]): line for line in held_out.lines if line["hmm"] == Path(folder).name
        }
        for row in rows_of(lines, references):
            likelihood = likelihoods[row.method, row.bits]
            values[Group(likelihood["states"], row.method, row.bits, row.mask)].append(figures_of(row, likelihood))
    say(table(values))
    if arguments.plot:
        draw(values, arguments.plot)


def score(
    folders: Sequence[str], grid: Sequence[Setting], test: Tensor, lines: StudyLines, device: str = "cpu"
) -> None:
    """Held-out log-likelihood in nats per token of every HMM in every way; None where it is no distribution."""
    with Progress(console=PlainConsole()) as progress:
        for folder in progress.track(folders, description="held-out"):
            left = [setting for setting in grid if (Path(folder).name, *setting) not in lines]
            if not left:
                continue
            reference = float_hmm(folder, device)
            for setting in left:
                hmm = guide(reference, setting)
                value = held_out_log_likelihood(hmm, test) if isinstance(hmm, SequenceModel) else None
                lines.add((Path(folder).name, *setting), {"held_out": value, "states": reference.hidden_states})


def write(folder: str, grid: Sequence[Setting], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The lines of one HMM's benchmark, all masks."""
    lines: list[dict[str, Any]] = []
    for mask in arguments.masks:
        settings = BenchmarkSettings(
            hmm_model_path=folder,
            base_model=arguments.base_model,
            dataset_path=arguments.dataset_path,
            output_path=str(Path(arguments.output) / f"{Path(folder).name}.jsonl"),
            beams=arguments.beams,
            limit=arguments.limit,
            soft_mask=mask == "soft",
            device=arguments.device,
        )
        with Progress(console=PlainConsole()) as progress:
            task = progress.add_task(escape(visible(f"{Path(folder).name}, {mask} mask")), total=None)
            lines = run_benchmark(
                settings, grid, lambda done, total, task=task: progress.update(task, completed=done, total=total)
            ).lines
    return lines


def figures_of(row: Row, likelihood: Mapping[str, Any]) -> dict[str, float]:
    """What is shown of one HMM in one way: mean scores, and what it takes."""
    found = {name: score.value for name, score in row.scores.items() if name in SHOWN}
    others = {"held_out": likelihood["held_out"], "symbolic": row.symbolic, "bytes": row.bytes}
    return found | {name: value for name, value in others.items() if value is not None}


def table(values: Mapping[Group, Sequence[Mapping[str, float]]]) -> str:
    """A row for every number of states, method, bits and mask: mean and standard deviation over HMMs."""
    rows: list[list[object]] = [["states", "HMMs", "method", "bits", "mask", *SHOWN.values()]]
    for group, members in sorted(values.items(), key=lambda item: (item[0].mask or "", item[0].states)):
        cells = [_cell(name, [member[name] for member in members if name in member]) for name in SHOWN]
        rows.append([f"{group.states:,}", len(members), group.method, group.bits, group.mask, *cells])
    return markdown_rows(rows)


def _cell(name: str, values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{round(sum(values) / len(values)):,}" if name == "bytes" else mean_and_deviation(values)


def draw(values: Mapping[Group, Sequence[Mapping[str, float]]], path: str | Path) -> None:
    """Four panels against the number of states, a line for each way. Raises ArgumentError as `save_figure`."""
    figure = new_figure(12, 6.5)
    hard = {group: members for group, members in values.items() if group.mask == "hard"}
    ways = list(dict.fromkeys((group.method, group.bits) for group in hard))
    for axes, (name, label) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        for place, (method, bits) in enumerate(ways):
            groups = sorted(group for group in hard if (group.method, group.bits) == (method, bits))
            points = [(group.states, member[name]) for group in groups for member in hard[group] if member.get(name)]
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
    save_figure(figure, path)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hmms", nargs="+", required=True, help="folders of float HMMs")
    parser.add_argument(
        "--grid", nargs="+", required=True, help="as test_benchmark.py: norm-q:8,4 log-norm-q:4 float32"
    )
    parser.add_argument("--masks", nargs="+", choices=("hard", "soft"), default=["hard"], help="(hard)")
    parser.add_argument("--test", required=True, help="held-out sampled sequences")
    parser.add_argument("--dataset_path", required=True, help="concept sets with references, JSON lines")
    parser.add_argument("--base_model", default="default", help="the language model they come from (%(default)s)")
    parser.add_argument("--beams", type=int, default=16)
    parser.add_argument("--limit", type=int, default=50, help="concept sets, spread evenly (%(default)s)")
    parser.add_argument("--output", required=True, help="folder")
    parser.add_argument("--plot", default="", help="figure against states, .png, .svg or .pdf")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
