"""Scores of results: success, ROUGE-L, BLEU, CIDEr, log-probability, with 95 % intervals, and Norm-Q's own figures.

    python scripts/test_acc.py
    python scripts/test_acc.py --results result/output.json --log 1
    python scripts/test_acc.py --results runs/a.json runs/b.jsonl --data validation.jsonl \\
        --table runs/table.md --plot fig/benchmark.svg
    python scripts/test_acc.py --results runs/hard.jsonl runs/soft.jsonl --common --data validation.jsonl
    python scripts/test_acc.py --results runs/benchmark.jsonl --against float32 --data validation.jsonl

Takes what test_benchmark.py writes, a line for each method, bits and mask, and any other file of
{"concept_set_idx", "concepts", "sentences"}, a line for each file. Without --data the references are those of
data/common-gen_validation.json where there is such a file, else CommonGen's from the hub, else of the 100 validation
sets that this package carries.

The second table has what Norm-Q's test_acc.py prints: constraints accuracy is its check, in which a concept counts
inside of words and case matters; its ROUGE-L is stemmed, that of the first table is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ctrlg.arguments import Natural, checked
from ctrlg.cli.evaluation import named_source
from ctrlg.errors import DataError
from ctrlg.terminal.console import say
from ctrlg.terminal.program import Program


@checked
def main(
    results: tuple[str, ...] = ("runs/benchmark.jsonl",),
    data: str = "default",
    substring: bool = False,
    common: bool = False,
    against: str = "",
    every: bool = False,
    log: Natural = 0,
    table: str = "",
    plot: str = "",
) -> None:
    """Score results.

    Args:
        results: files of results, JSON or JSON lines.
        data: the concept sets with their references.
        substring: concepts count inside of words (Norm-Q's check).
        common: judge only the concept sets that every row has.
        against: a row, as float32 or norm-q:8, that others are paired with.
        every: judge all sentences of a concept set, not its first alone.
        log: 1 to show the sentences that lack a concept.
        table: Markdown file for the table.
        plot: figure of scores against bits, .png, .svg or .pdf.
    """
    from ctrlg.evaluation.concept_sets import read_concept_sets
    from ctrlg.evaluation.metrics.tokens import require_scorers
    from ctrlg.evaluation.paired import paired_markdown, paired_rows
    from ctrlg.evaluation.results import read_records
    from ctrlg.evaluation.tables import markdown, norm_q_markdown, rows_of
    from ctrlg.evaluation.tables import plot as plot_rows
    from ctrlg.figures import check_figure_path
    from ctrlg.files.atomic import write_lines
    from ctrlg.files.outputs import check_output_file

    require_scorers()
    if plot:
        check_figure_path(plot)
    if table:
        check_output_file(table, "--table")
    records: dict[str, Any] = {file: read_records(file) for file in results}
    references = {each.number: each.references for each in read_concept_sets(named_source(data))}
    if common:
        records = on_common_sets(records)
    rows = [
        row
        for file, lines in records.items()
        for row in rows_of(lines, references, Path(file).stem, substring, not every)
    ]
    shown = markdown(rows) + "\n\n" + norm_q_markdown(rows)
    everything = [line for lines in records.values() for line in lines]
    if against:
        shown += "\n\n" + paired_markdown(paired_rows(everything, against), against)
    say(shown)
    if log:
        show_broken(everything, substring)
    if table:
        write_lines(table, shown)
    if plot:
        plot_rows(rows, plot)


def on_common_sets(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Mapping[str, Any]]]:
    """The records of concept sets that every row of the table has. Raises DataError where there are none."""
    from ctrlg.evaluation.tables import group_of

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
    from ctrlg.evaluation.metrics.success import covered
    from ctrlg.evaluation.results import Written

    for written in (Written.of(record, "a record") for record in records):
        found = covered(written.sentences[0], written.concepts, substring) if written.sentences else []
        lacking = [concept for concept, there in zip(written.concepts, found, strict=False) if not there]
        if lacking:
            say(f"concept set {written.number} lacks {', '.join(lacking)}: {written.sentences[0]}")


PROGRAM = Program(main, "test_acc.py", __doc__)

if __name__ == "__main__":
    PROGRAM.main()
