"""Which pair of language model and HMM writes better under a promise? CommonGen's concept sets, against references.

    python scripts/compare_pairs.py --data validation.jsonl --sets 50 --output runs/pairs.jsonl \\
        --pair before runs/before/model runs/before/hmm --pair after default default

Every pair writes one sentence a concept set (every concept in some inflection, 6 to 16 words), ranked by its own
language model. Printed are promises kept, BLEU-4 and CIDEr with 95 % bootstrap intervals, and the log-probability per
token under --judge, one language model for all pairs, with its standard error, and what it gains on the first pair, set
by set. Sentences are written to the output as
they come; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ctrlg.console import as_program
from ctrlg.decoding.ranking import score_generated_ids
from ctrlg.distillation.sentences import end_of_text_id
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.results import Written
from ctrlg.evaluation.scores import evaluate
from ctrlg.evaluation.tokens import require_scorers
from ctrlg.evaluation.writing import write_sentences
from ctrlg.models import fast_dtype, load_language_model
from ctrlg.quantization import load_hmm
from ctrlg.studies import StudyLines


def main() -> None:
    arguments = parse_arguments()
    require_scorers()
    sets = {concept_set.number: concept_set for concept_set in read_concept_sets(arguments.data, arguments.sets)}
    records = StudyLines(arguments.output, ("pair", "concept_set_idx"))
    with Progress() as progress:
        task = progress.add_task("writing", total=len(arguments.pair) * len(sets))
        for name, model, hmm in arguments.pair:
            there = {index for index in sets if (name, index) in records}
            progress.advance(task, len(there))
            if len(there) < len(sets):
                for record in written(model, hmm, list(sets.values()), there, arguments):
                    records.add((name, record["concept_set_idx"]), record)
                    progress.advance(task)
    shown = [record for record in records.lines if record["concept_set_idx"] in sets]
    Console().print(table([name for name, *_ in arguments.pair], shown, sets, arguments.judge))


def written(
    model_name: str, hmm_name: str, sets: Sequence[ConceptSet], there: set[int], arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The best sentence of one pair for each concept set that is not there."""
    model, tokenizer = load_language_model(model_name, dtype=fast_dtype())
    limits = (arguments.beams, arguments.max_new_tokens)
    for sentence in write_sentences(
        model, tokenizer, load_hmm(hmm_name), sets, *limits, there=lambda concept_set: concept_set.number in there
    ):
        yield sentence.record


def table(names: Sequence[str], records: list[dict[str, Any]], sets: dict[int, ConceptSet], judge: str) -> Table:
    """One line a pair."""
    references = {index: concept_set.references for index, concept_set in sets.items()}
    result = Table("pair", "kept", "BLEU-4", "CIDEr", f"log-probability per token ({judge})", "gained, paired")
    first: np.ndarray | None = None
    for name in names:
        rows = sorted(
            (record for record in records if record["pair"] == name), key=lambda record: record["concept_set_idx"]
        )
        scores = evaluate([Written.of(row, name) for row in rows], references)
        judged = np.array(log_probabilities(judge, [row["sentences"][0] for row in rows]))
        result.add_row(
            name,
            f"{sum(record['kept'] for record in rows)}/{len(rows)}",
            str(scores["bleu_4"]),
            str(scores["cider"]),
            _with_error(judged),
            "" if first is None else _with_error(judged - first),
        )
        first = judged if first is None else first
    return result


def _with_error(values: np.ndarray) -> str:
    """The mean and its standard error."""
    return f"{values.mean():.3f} ± {values.std(ddof=1) / len(values) ** 0.5:.3f}"


def log_probabilities(judge: str, sentences: Sequence[str]) -> list[float]:
    """Nats per token of each sentence, end-of-text included, after end-of-text."""
    model, tokenizer = load_language_model(judge, dtype=fast_dtype())
    eos = end_of_text_id(tokenizer)
    contents = [tokenizer.encode(text, add_special_tokens=False) for text in sentences]
    return [scored.log_prob for scored in score_generated_ids(model, contents, [eos], [eos])]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CommonGen's validation.jsonl")
    parser.add_argument(
        "--pair", nargs=3, action="append", required=True, metavar=("NAME", "MODEL", "HMM"), help="may be repeated"
    )
    parser.add_argument("--judge", default="default", help="language model that judges all sentences (%(default)s)")
    parser.add_argument("--sets", type=int, default=50)
    parser.add_argument("--beams", type=int, default=16)
    parser.add_argument("--max_new_tokens", type=int, default=32)
    parser.add_argument("--output", required=True, help="JSON lines")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
