"""Which pair of language model and HMM writes better under a promise? CommonGen's concept sets, against references.

    python -m studies.pairs.study --data validation.jsonl --sets 50 --output runs/pairs.jsonl \\
        --pair before runs/before/model runs/before/hmm --pair after default default
    python -m studies.pairs.study --data validation.jsonl --sets 100 --output runs/halves.jsonl \\
        --pair "float + float" default runs/hmm/best --pair "tweaked + compressed" runs/tweaked.gguf default \\
        --table runs/halves.md --plot fig/both_halves.svg

Every pair writes one sentence a concept set (every concept in some inflection, 6 to 16 words), ranked by its own
language model. Printed are promises kept, BLEU-4, CIDEr, the log-probability per token under --judge, one language
model for all pairs, and what it gains on the first pair, set by set, all with 95 % bootstrap intervals; with --bytes or
--plot also what both halves weigh on disk. Sentences are written to the output as they come; an interrupted run goes on
where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from rich.progress import Progress

from ctrlg.devices import fast_dtype
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.metrics.tokens import require_scorers
from ctrlg.evaluation.writing import write_sentences
from ctrlg.figures import check_figure_path
from ctrlg.files.atomic import write_lines
from ctrlg.files.outputs import check_output_file
from ctrlg.files.records import StudyLines
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.plain_console import PlainConsole
from studies.pairs.comparison import Pair, draw_pairs, pair_results, pairs_table


def main() -> None:
    arguments = parse_arguments()
    require_scorers()
    if arguments.plot:
        check_figure_path(arguments.plot)
    if arguments.table:
        check_output_file(arguments.table, "--table")
    pairs = [Pair(*parts) for parts in arguments.pair]
    if len({pair.name for pair in pairs}) < len(pairs):
        raise ArgumentError("two pairs have one name", hint="results are filed under it: rename one")
    sizes = {pair.name: pair.sizes() for pair in pairs} if arguments.bytes or arguments.plot else {}
    sets = {concept_set.number: concept_set for concept_set in read_concept_sets(arguments.data, arguments.sets)}
    records = StudyLines(arguments.output, ("pair", "concept_set_idx"))
    with Progress(console=PlainConsole()) as progress:
        task = progress.add_task("writing", total=len(pairs) * len(sets))
        for pair in pairs:
            there = {index for index in sets if (pair.name, index) in records}
            progress.advance(task, len(there))
            if len(there) < len(sets):
                for record in written(pair, list(sets.values()), there, arguments):
                    records.add((pair.name, record["concept_set_idx"]), record)
                    progress.advance(task)
    shown = [record for record in records.lines if record["concept_set_idx"] in sets]
    references = {index: concept_set.references for index, concept_set in sets.items()}
    results = pair_results(pairs, shown, references, arguments.judge, sizes, arguments.device)
    content = pairs_table(results, arguments.judge)
    say(content)
    if arguments.table:
        write_lines(arguments.table, content)
    if arguments.plot:
        draw_pairs(results, arguments.plot)


def written(
    pair: Pair, sets: Sequence[ConceptSet], there: set[int], arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The ranked sentences of one pair for each concept set that is not there."""
    model, tokenizer = load_language_model(pair.model, arguments.device, fast_dtype(arguments.device))
    hmm = load_hmm(pair.hmm, arguments.device)
    limits = (arguments.beams, arguments.max_new_tokens)
    for sentence in write_sentences(
        model, tokenizer, hmm, sets, *limits, there=lambda concept_set: concept_set.number in there
    ):
        yield sentence.record


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--data", required=True, help="CommonGen's validation.jsonl")
    parser.add_argument(
        "--pair", nargs=3, action="append", required=True, metavar=("NAME", "MODEL", "HMM"), help="may be repeated"
    )
    parser.add_argument("--judge", default="default", help="language model that judges all sentences (%(default)s)")
    parser.add_argument("--sets", type=int, default=50)
    parser.add_argument("--beams", type=int, default=16)
    parser.add_argument("--max_new_tokens", type=int, default=32)
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_argument("--bytes", action="store_true", help="show what both halves weigh on disk")
    parser.add_argument("--table", default="", help="Markdown file for what is printed")
    parser.add_argument("--plot", default="", help="quality against bytes, .png, .svg or .pdf")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
