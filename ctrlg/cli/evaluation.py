"""The commands `ctrlg benchmark`, `evaluate` and `inspect`; what they import, they import when they run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ctrlg.arguments import check, checked
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.benchmark_settings import BenchmarkSettings
from ctrlg.files.json_text import json_text
from ctrlg.terminal.console import new_console, say
from ctrlg.terminal.program import Program, command_as_typed

if TYPE_CHECKING:
    from ctrlg.evaluation.grid import Grid


def named_source(name: str) -> str:
    """What `read_concept_sets` reads by this name; says on standard error what "default" stands for this time.

    Args:
        name: a file, a name on the hub, or "default".
    """
    from ctrlg.evaluation.sources import find_source

    source = find_source(name)
    if source.note:
        say(source.note, sys.stderr)
    return source.name


def evaluate(
    results: list[Path],
    data: str = "default",
    split: str = "validation",
    every: bool = False,
    substring: bool = False,
    meteor: bool | None = None,
    spice: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    as_json: bool = False,
) -> None:
    """Score sentences for concept sets, with 95 % intervals.

    BLEU, METEOR, ROUGE-L, CIDEr, SPICE, coverage and success.

    Args:
        results: files of {concept_set_idx, concepts, sentences}.
        data: the concept sets with their references: JSON lines, JSON, CSV, a name on the hub, or 'default':
            CommonGen's validation sets.
        split: of a data set on the hub.
        every: judge all sentences of a concept set, not its first alone.
        substring: concepts count inside of other words, too.
        meteor: by default where there is a Java to run it.
        spice: needs Java 8 and Stanford's models.
        resamples: of the bootstrap behind the intervals.
        seed: of the bootstrap.
        as_json: print JSON.
    """
    from ctrlg.evaluation.concept_sets import read_concept_sets
    from ctrlg.evaluation.metrics.meteor import require_meteor
    from ctrlg.evaluation.metrics.scores import evaluate as score
    from ctrlg.evaluation.metrics.spice import require_spice
    from ctrlg.evaluation.metrics.tokens import require_scorers
    from ctrlg.evaluation.results import read_results

    require_scorers()
    check(score, substring=substring, resamples=resamples, seed=seed)
    if spice:
        require_spice()
    try:
        with_meteor = meteor is not False and bool(require_meteor())
    except ArgumentError as error:
        if meteor:
            raise
        with_meteor = False
        say(f"METEOR is left out: {error.message}", sys.stderr)
    written = [read_results(path) for path in results]
    if not every:
        written = [[group.best() for group in groups] for groups in written]
    sets = read_concept_sets(named_source(data), split=split)
    known = {concept_set.number: concept_set.references for concept_set in sets}
    scores = [score(sentences, known, substring, resamples, seed, with_meteor, spice) for sentences in written]
    if as_json:
        named = [{name: value._asdict() for name, value in found.items()} for found in scores]
        print(json_text(dict(zip(map(str, results), named, strict=True)), indent=2))
        return
    from rich.table import Table

    table = Table("score", *map(str, results))
    for name in scores[0]:
        table.add_row(name, *(str(found[name]) for found in scores))
    new_console().print(table)


@checked
def benchmark(settings: BenchmarkSettings, grid: tuple[str, ...]) -> None:
    """Write sentences for every concept set with an HMM compressed in many ways.

    It goes on where it was stopped.

    Args:
        grid: 'METHOD:BITS,BITS', 'float32' or 'mask-only'. Repeat.
    """
    from ctrlg.evaluation.grid import Grid

    write_benchmark(settings, Grid.parse(grid))


def write_benchmark(settings: BenchmarkSettings, grid: Grid) -> None:
    """Run the benchmark under a progress bar, and print how many constraints each setting kept.

    Args:
        settings: what is written, and with what; the data may be "default".
        grid: how the HMM is compressed.

    Raises:
        CtrlGError: as `run_benchmark`.
    """
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
    from rich.table import Table

    from ctrlg.evaluation.benchmark import run_benchmark
    from ctrlg.terminal.plain_console import PlainConsole

    settings = replace(settings, data=named_source(settings.data))
    console = PlainConsole()
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("concept sets", total=None)
        lines = run_benchmark(
            settings, grid, lambda done, total: progress.update(task, completed=done, total=total)
        ).lines
    table = Table("method", "bits", "mask", "kept", "log-probability per token")
    for method, bits, mask in dict.fromkeys((line["method"], line["bits"], line["mask"]) for line in lines):
        group = [line for line in lines if (line["method"], line["bits"], line["mask"]) == (method, bits, mask)]
        kept, score = sum(line["kept"] for line in group), sum(line["log_prob"] for line in group) / len(group)
        table.add_row(method, str(bits), mask, f"{kept}/{len(group)}", f"{score:.3f}")
    console.print(table)


def inspect(
    hmm: str,
    model: str = "default",
    tokens: int = 32,
    states: int = 8,
    words: int = 6,
    plot: Path | None = None,
    as_json: bool = False,
) -> None:
    """Show an HMM from inside.

    Sizes, entropies, density, probabilities, its most used states and their words.

    Args:
        hmm: folder or hub id of an HMM, float or compressed, or 'default'.
        model: whose tokenizer names the tokens: as for generate, or 'none' for ids.
        tokens: length of the texts whose states are counted.
        states: how many of the most used states to name.
        words: tokens of each of them.
        plot: probabilities, entropies, states: .png, .svg or .pdf.
        as_json: print JSON, histograms included.
    """
    from ctrlg.figures import check_figure_path
    from ctrlg.inspection.figure import plot_inspection
    from ctrlg.inspection.inspect import inspect_hmm
    from ctrlg.inspection.report import as_record, check_tokenizer, show
    from ctrlg.loading.hmms import hmm_folder, load_hmm
    from ctrlg.loading.language_models import load_tokenizer

    if plot is not None:
        check_figure_path(plot)
    check(inspect_hmm, tokens=tokens, states=states, words=words)
    opened = load_hmm(hmm)
    tokenizer = None if model == "none" else load_tokenizer(model)
    if tokenizer is not None:
        check_tokenizer(opened, tokenizer)
    found = inspect_hmm(opened, tokens, states, words)
    file_bytes = (hmm_folder(hmm) / "model.safetensors").stat().st_size
    if plot is not None:
        plot_inspection(found, plot, command_as_typed())
    if as_json:
        print(json_text(as_record(found, file_bytes, tokenizer), indent=2))
    else:
        show(found, file_bytes, tokenizer, new_console())


PROGRAMS = {
    "benchmark": Program(
        benchmark,
        "ctrlg benchmark",
        defaults={"hmm": "default", "model": "default"},
        examples="""
Examples:

  ctrlg benchmark validation.jsonl runs/benchmark.jsonl --grid norm-q:8,4,3,2 --grid log-norm-q:8,4,3,2 --limit 100

  ctrlg benchmark validation.jsonl runs/benchmark.jsonl --grid float32 --grid mask-only --grid norm-q:8 --soft-mask

  ctrlg benchmark default runs/benchmark.json --grid float32 --least-words 0 --most-words none

  ctrlg evaluate runs/benchmark.jsonl --data validation.jsonl
""",
    ),
    "evaluate": Program(
        evaluate,
        "ctrlg evaluate",
        examples="""
Examples:

  ctrlg evaluate runs/results.json --data validation.jsonl

  ctrlg evaluate runs/a.jsonl runs/b.jsonl --data validation.jsonl --json

  ctrlg evaluate runs/results.json --data allenai/common_gen --spice
""",
    ),
    "inspect": Program(
        inspect,
        "ctrlg inspect",
        examples="""
Examples:

  ctrlg inspect default --plot runs/default.png

  ctrlg inspect runs/mine/compressed --model MODEL --states 20 --words 10

  ctrlg inspect runs/hmm/best --model none --json
""",
    ),
}
