"""The commands `ctrlg evaluate` and `ctrlg inspect`; what they import, they import when they run."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

EVALUATE_EXAMPLES = """
Examples:

  ctrlg evaluate runs/results.json --references validation.jsonl

  ctrlg evaluate runs/a.jsonl runs/b.jsonl --references validation.jsonl --json
"""

INSPECT_EXAMPLES = """
Examples:

  ctrlg inspect default --plot runs/default.png

  ctrlg inspect runs/mine/compressed --model MODEL --states 20 --words 10

  ctrlg inspect runs/hmm/best --model none --json
"""


def evaluate(
    results: Annotated[list[Path], typer.Argument(help="Files of {concept_set_idx, concepts, sentences}.")],
    references: Annotated[Path, typer.Option(help="The concept sets with their references, JSON lines.")],
    substring: Annotated[bool, typer.Option("--substring", help="Concepts count inside of other words, too.")] = False,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap behind the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score sentences for concept sets: BLEU, ROUGE-L, CIDEr, coverage, success, with 95 % intervals."""
    from ctrlg.evaluation.concept_sets import read_concept_sets
    from ctrlg.evaluation.results import read_results
    from ctrlg.evaluation.scores import evaluate as score
    from ctrlg.evaluation.tokens import require_scorers

    require_scorers()
    written = [read_results(path) for path in results]
    known = {concept_set.number: concept_set.references for concept_set in read_concept_sets(references)}
    scores = [score(sentences, known, substring, resamples, seed) for sentences in written]
    if as_json:
        named = [{name: value._asdict() for name, value in found.items()} for found in scores]
        typer.echo(json.dumps(dict(zip(map(str, results), named, strict=True)), indent=2))
        return
    table = Table("score", *map(str, results))
    for name in scores[0]:
        table.add_row(name, *(str(found[name]) for found in scores))
    Console().print(table)


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
    from ctrlg.evaluation.inspection import inspect_hmm
    from ctrlg.evaluation.inspection_figure import draw_inspection
    from ctrlg.evaluation.inspection_report import as_record, check_tokenizer, show
    from ctrlg.figures import check_figure_path
    from ctrlg.models import load_tokenizer
    from ctrlg.quantization.loading import hmm_folder, load_hmm

    if plot is not None:
        check_figure_path(plot)
    opened = load_hmm(hmm)
    tokenizer = None if model == "none" else load_tokenizer(model)
    if tokenizer is not None:
        check_tokenizer(opened, tokenizer)
    found = inspect_hmm(opened, tokens, states, words)
    file_bytes = (hmm_folder(hmm) / "model.safetensors").stat().st_size
    if plot is not None:
        draw_inspection(found, plot, shlex.join(["ctrlg", *sys.argv[1:]]))
    if as_json:
        typer.echo(json.dumps(as_record(found, file_bytes, tokenizer), indent=2, ensure_ascii=False))
    else:
        show(found, file_bytes, tokenizer, Console())
