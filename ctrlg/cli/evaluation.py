"""The commands `ctrlg benchmark`, `evaluate` and `inspect`; what they import, they import when they run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctrlg.arguments import check
from ctrlg.errors import ArgumentError
from ctrlg.files.json_text import json_text
from ctrlg.terminal.console import new_console, say

if TYPE_CHECKING:
    from ctrlg.evaluation.benchmark import BenchmarkSettings, Setting

BENCHMARK_EXAMPLES = """
Examples:

  ctrlg benchmark validation.jsonl runs/benchmark.jsonl --grid norm-q:8,4,3,2 --grid log-norm-q:8,4,3,2 --limit 100

  ctrlg benchmark validation.jsonl runs/benchmark.jsonl --grid float32 --grid mask-only --grid norm-q:8 --soft-mask

  ctrlg benchmark default runs/benchmark.json --grid float32 --least-words 0 --most-words none

  ctrlg evaluate runs/benchmark.jsonl --references validation.jsonl
"""

EVALUATE_EXAMPLES = """
Examples:

  ctrlg evaluate runs/results.json --references validation.jsonl

  ctrlg evaluate runs/a.jsonl runs/b.jsonl --references validation.jsonl --json

  ctrlg evaluate runs/results.json --references allenai/common_gen --spice
"""

INSPECT_EXAMPLES = """
Examples:

  ctrlg inspect default --plot runs/default.png

  ctrlg inspect runs/mine/compressed --model MODEL --states 20 --words 10

  ctrlg inspect runs/hmm/best --model none --json
"""


def word_limit(text: str | int) -> int | None:
    """The largest number of words that an option allows: "16" as 16, "none" as None. Raises ArgumentError."""
    if isinstance(text, str) and text.lower() == "none":
        return None
    try:
        return int(text)
    except ValueError as error:
        raise ArgumentError(f"{text!r} is no number of words", hint="a whole number, or none") from error


def named_source(name: str) -> str:
    """What `read_concept_sets` reads by this name; says on standard error what "default" stands for this time."""
    from ctrlg.evaluation.sources import find_source

    source = find_source(name)
    if source.note:
        say(source.note, sys.stderr)
    return source.name


def evaluate(
    results: Annotated[list[Path], typer.Argument(help="Files of {concept_set_idx, concepts, sentences}.")],
    references: Annotated[
        str,
        typer.Option(
            help="The concept sets with their references: JSON lines, JSON, CSV, a name on the hub, or 'default': "
            "CommonGen's validation sets."
        ),
    ] = "default",
    split: Annotated[str, typer.Option(help="Of a data set on the hub.")] = "validation",
    every: Annotated[
        bool, typer.Option("--all", help="Judge all sentences of a concept set, not its first alone.")
    ] = False,
    substring: Annotated[bool, typer.Option("--substring", help="Concepts count inside of other words, too.")] = False,
    meteor: Annotated[
        bool | None, typer.Option("--meteor/--no-meteor", help="By default where there is a Java to run it.")
    ] = None,
    spice: Annotated[bool, typer.Option("--spice", help="Needs Java 8 and Stanford's models.")] = False,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap behind the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score sentences for concept sets: BLEU, METEOR, ROUGE-L, CIDEr, SPICE, coverage, success, with 95 % intervals."""
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
    sets = read_concept_sets(named_source(references), split=split)
    known = {concept_set.number: concept_set.references for concept_set in sets}
    scores = [score(sentences, known, substring, resamples, seed, with_meteor, spice) for sentences in written]
    if as_json:
        named = [{name: value._asdict() for name, value in found.items()} for found in scores]
        typer.echo(json_text(dict(zip(map(str, results), named, strict=True)), indent=2))
        return
    from rich.table import Table

    table = Table("score", *map(str, results))
    for name in scores[0]:
        table.add_row(name, *(str(found[name]) for found in scores))
    new_console().print(table)


def benchmark(
    dataset: Annotated[
        str,
        typer.Argument(
            help="Concept sets with their references: a file, a name on the hub, or 'default': CommonGen's."
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(help="JSON lines, or Norm-Q's list where it ends in .json; what is there is not written again."),
    ],
    grid: Annotated[list[str], typer.Option(help="'METHOD:BITS,BITS', 'float32' or 'mask-only'. Repeat.")],
    hmm: Annotated[str, typer.Option(help="Folder or hub id of an HMM, or 'default'.")] = "default",
    model: Annotated[str, typer.Option(help="Hugging Face id, folder, .gguf file, or 'default'.")] = "default",
    beams: Annotated[int, typer.Option(help="Beams of the search.")] = 16,
    limit: Annotated[int | None, typer.Option(help="Concept sets, spread evenly; default: all.")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="0: sets spread evenly; others: drawn. Repeat.")] = None,
    soft_mask: Annotated[bool, typer.Option("--soft-mask", help="The HMM alone steers, as in Ctrl-G.")] = False,
    least_words: Annotated[int, typer.Option(help="Of a sentence.")] = 6,
    most_words: Annotated[
        Any, typer.Option(help="Of a sentence, or 'none'.", metavar="INTEGER", parser=word_limit)
    ] = 16,
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens of a sentence.")] = 32,
    together: Annotated[int, typer.Option(help="Concept sets of one search.")] = 4,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seconds: Annotated[float | None, typer.Option(help="To end within; settings keep the same sets.")] = None,
) -> None:
    """Write sentences for every concept set with an HMM compressed in many ways; goes on where it was stopped."""
    from ctrlg.evaluation.benchmark import BenchmarkSettings, parse_grid

    chosen = parse_grid(grid)
    settings = BenchmarkSettings(
        hmm_model_path=hmm,
        base_model=model,
        dataset_path=named_source(dataset),
        output_path=str(output),
        beams=beams,
        limit=limit,
        seeds=tuple(seeds or [0]),
        soft_mask=soft_mask,
        least_words=least_words,
        most_words=most_words,
        max_new_tokens=max_new_tokens,
        together=together,
        device=device,
        seconds=seconds,
    )
    write_benchmark(settings, chosen)


def write_benchmark(settings: BenchmarkSettings, grid: Sequence[Setting]) -> None:
    """Run the benchmark under a progress bar, and say how many promises each setting kept."""
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
    from rich.table import Table

    from ctrlg.evaluation.benchmark import run_benchmark
    from ctrlg.terminal.plain_console import PlainConsole

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
    hmm: Annotated[str, typer.Argument(help="Folder or hub id of an HMM, float or compressed, or 'default'.")],
    model: Annotated[
        str, typer.Option(help="Whose tokenizer names the tokens: as for generate, or 'none' for ids.")
    ] = "default",
    tokens: Annotated[int, typer.Option(help="Length of the texts whose states are counted.")] = 32,
    states: Annotated[int, typer.Option(help="How many of the most used states to name.")] = 8,
    words: Annotated[int, typer.Option(help="Tokens of each of them.")] = 6,
    plot: Annotated[Path | None, typer.Option(help="Probabilities, entropies, states: .png, .svg or .pdf.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, histograms included.")] = False,
) -> None:
    """Show an HMM from inside: sizes, entropies, density, probabilities, its most used states and their words."""
    from ctrlg.figures import check_figure_path
    from ctrlg.inspection.figure import draw_inspection
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
        draw_inspection(found, plot, shlex.join(["ctrlg", *sys.argv[1:]]))
    if as_json:
        typer.echo(json_text(as_record(found, file_bytes, tokenizer), indent=2))
    else:
        show(found, file_bytes, tokenizer, new_console())
