"""The command `ctrlg evaluate`; what it imports, it imports when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

EVALUATE_EXAMPLES = """
Examples:

  ctrlg evaluate runs/results.json --references validation.jsonl

  ctrlg evaluate runs/a.jsonl runs/b.jsonl --references validation.jsonl --json

  ctrlg evaluate runs/results.json --references allenai/common_gen --spice
"""


def evaluate(
    results: Annotated[list[Path], typer.Argument(help="Files of {concept_set_idx, concepts, sentences}.")],
    references: Annotated[
        str, typer.Option(help="The concept sets with their references: JSON lines, JSON, CSV, or a name on the hub.")
    ],
    split: Annotated[str, typer.Option(help="Of a data set on the hub.")] = "validation",
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
    from ctrlg.errors import ArgumentError
    from ctrlg.evaluation.concept_sets import read_concept_sets
    from ctrlg.evaluation.meteor import require_meteor
    from ctrlg.evaluation.results import read_results
    from ctrlg.evaluation.scores import evaluate as score
    from ctrlg.evaluation.spice import require_spice
    from ctrlg.evaluation.tokens import require_scorers

    require_scorers()
    if spice:
        require_spice()
    try:
        with_meteor = meteor is not False and bool(require_meteor())
    except ArgumentError as error:
        if meteor:
            raise
        with_meteor = False
        Console(stderr=True).print(f"METEOR is left out: {error.message}", highlight=False, markup=False)
    written = [read_results(path) for path in results]
    known = {concept_set.number: concept_set.references for concept_set in read_concept_sets(references, split=split)}
    scores = [score(sentences, known, substring, resamples, seed, with_meteor, spice) for sentences in written]
    if as_json:
        named = [{name: value._asdict() for name, value in found.items()} for found in scores]
        typer.echo(json.dumps(dict(zip(map(str, results), named, strict=True)), indent=2))
        return
    table = Table("score", *map(str, results))
    for name in scores[0]:
        table.add_row(name, *(str(found[name]) for found in scores))
    Console().print(table)
