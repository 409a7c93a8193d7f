"""Scores of results: success, ROUGE-L, BLEU, CIDEr, log-probability, with 95 % intervals, and Norm-Q's own figures.

    python scripts/test_acc.py
    python scripts/test_acc.py --result result/output.json --log 1
    python scripts/test_acc.py --result runs/a.json runs/b.jsonl --dataset_path validation.jsonl \\
        --table runs/table.md --plot fig/benchmark.svg
    python scripts/test_acc.py --result runs/hard.jsonl runs/soft.jsonl --common --dataset_path validation.jsonl
    python scripts/test_acc.py --result runs/benchmark.jsonl --against float32 --dataset_path validation.jsonl

Takes what test_benchmark.py writes, a line for each method, bits and mask, and any other file of
{"concept_set_idx", "concepts", "sentences"}, a line for each file. Without --dataset_path the references are those of
data/common-gen_validation.json where there is such a file, else CommonGen's from the hub, else of the 100 validation
sets that this package carries.

The second table has what Norm-Q's test_acc.py prints: constraints accuracy is its check, in which a concept counts
inside of words and case matters; its ROUGE-L is stemmed, that of the first table is not.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ctrlg.cli.evaluation import named_source
from ctrlg.errors import DataError
from ctrlg.evaluation.concept_sets import read_concept_sets
from ctrlg.evaluation.metrics.success import covered
from ctrlg.evaluation.metrics.tokens import require_scorers
from ctrlg.evaluation.paired import paired_markdown, paired_rows
from ctrlg.evaluation.results import Written, read_records
from ctrlg.evaluation.tables import group_of, markdown, norm_q_markdown, plot, rows_of
from ctrlg.figures import check_figure_path
from ctrlg.files.atomic import write_lines
from ctrlg.files.outputs import check_output_file
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser


def main() -> None:
    arguments = parse_arguments()
    require_scorers()
    if arguments.plot:
        check_figure_path(arguments.plot)
    if arguments.table:
        check_output_file(arguments.table, "--table")
    records = {file: read_records(file) for file in arguments.result}
    sets = read_concept_sets(named_source(arguments.dataset_path))
    references = {each.number: each.references for each in sets}
    if arguments.common:
        records = on_common_sets(records)
    rows = [
        row
        for file, lines in records.items()
        for row in rows_of(lines, references, Path(file).stem, arguments.substring, not arguments.all)
    ]
    table = markdown(rows) + "\n\n" + norm_q_markdown(rows)
    if arguments.against:
        everything = [line for lines in records.values() for line in lines]
        table += "\n\n" + paired_markdown(paired_rows(everything, arguments.against), arguments.against)
    say(table)
    if arguments.log:
        show_broken([record for lines in records.values() for record in lines], arguments.substring)
    if arguments.table:
        write_lines(arguments.table, table)
    if arguments.plot:
        plot(rows, arguments.plot)


def on_common_sets(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Mapping[str, Any]]]:
    """The records of concept sets that every row of the table has. Raises DataError where there are none."""
    sets: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    for file, lines in records.items():
        for line in lines:
            sets[group_of(line, Path(file).stem)].add(line["concept_set_idx"])
    common = set.intersection(*sets.values()) if sets else set()
    if not common:
        raise DataError("no concept set is in every row", hint="leave out --common, or the files of other sets")
    return {file: [line for line in lines if line["concept_set_idx"] in common] for file, lines in records.items()}


def show_broken(records: Sequence[Mapping[str, Any]], substring: bool) -> None:
    """Print the first sentences that lack a concept, and which."""
    for written in (Written.of(record, "a record") for record in records):
        found = covered(written.sentences[0], written.concepts, substring) if written.sentences else []
        lacking = [concept for concept, there in zip(written.concepts, found, strict=False) if not there]
        if lacking:
            say(f"concept set {written.number} lacks {', '.join(lacking)}: {written.sentences[0]}")


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument(
        "--result",
        nargs="+",
        default=["runs/benchmark.jsonl"],
        help="files of results, JSON or JSON lines (runs/benchmark.jsonl)",
    )
    parser.add_argument(
        "--dataset_path", default="default", help="the concept sets with their references (%(default)s)"
    )
    parser.add_argument("--substring", action="store_true", help="concepts count inside of words (Norm-Q's check)")
    parser.add_argument("--common", action="store_true", help="judge only the concept sets that every row has")
    parser.add_argument("--against", default="", help="a row, as float32 or norm-q:8, that others are paired with")
    parser.add_argument("--all", action="store_true", help="judge all sentences of a concept set, not its first alone")
    parser.add_argument("--log", type=int, default=0, help="1: show the sentences that lack a concept (%(default)s)")
    parser.add_argument("--table", default="", help="Markdown file for the table")
    parser.add_argument("--plot", default="", help="figure of scores against bits, .png, .svg or .pdf")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
