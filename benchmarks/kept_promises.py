"""Are promises kept at every bit width? CommonGen concept sets, checked on the text.

    python benchmarks/kept_promises.py --data ../shared/data/commongen/validation.jsonl --hmm runs/hmm512/best \\
        --methods log-norm-q norm-q --bits 8 4 3 2 --sets 100 --output runs/kept.jsonl

Compresses a float HMM by each method and bit width, writes one sentence a concept set (every concept in some
inflection, 6 to 16 words), and prints how many promises were kept and how well the language model likes the sentences.
Sentences are written to the output as they come; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ctrlg.console import as_program
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS, best_sentence, record_of
from ctrlg.hmm import HMM
from ctrlg.models import fast_dtype, load_language_model
from ctrlg.quantization import quantize
from ctrlg.studies import StudyLines


def main() -> None:
    arguments = parse_arguments()
    sets = read_concept_sets(arguments.data, arguments.sets)
    records = StudyLines(arguments.output, ("method", "bits", "concept_set_idx"))
    model, tokenizer = load_language_model("default", dtype=fast_dtype())
    settings = [(method, bits) for method in arguments.methods for bits in arguments.bits]
    if arguments.mask_only:
        settings.append(("mask only", 0))
    if arguments.float:
        settings.append(("float32", 32))
    reference = HMM.from_pretrained(arguments.hmm)
    with Progress() as progress:
        task = progress.add_task("writing", total=len(settings) * len(sets))
        for method, bits in settings:
            hmm = guide(reference, method, bits)
            for concept_set in sets:
                if (key := (method, bits, concept_set.number)) not in records:
                    records.add(key, write(model, tokenizer, hmm, concept_set, arguments))
                progress.advance(task)
    Console().print(summary(records.lines))


def guide(reference: HMM, method: str, bits: int) -> Any:
    if method == "mask only":
        return None
    return reference if method == "float32" else quantize(reference, method=method, bits=bits)


def write(
    model: Any, tokenizer: Any, hmm: Any, concept_set: ConceptSet, arguments: argparse.Namespace
) -> dict[str, Any]:
    promise = concept_set.promise(LEAST_WORDS, MOST_WORDS)
    best = best_sentence(model, tokenizer, hmm, promise, arguments.beams, arguments.max_new_tokens)
    return record_of(concept_set, promise, best) | {
        "neural_seconds": best.timing.neural,
        "symbolic_seconds": best.timing.symbolic,
        "steps": best.timing.steps,
    }


def summary(records: list[dict[str, Any]]) -> Table:
    groups: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["method"], record["bits"]].append(record)
    table = Table("method", "bits", "kept", "log-probability per token", "symbolic ms/step", "neural ms/step")
    for (method, bits), rows in groups.items():
        scores = torch.tensor([row["log_prob"] for row in rows])
        steps = sum(row["steps"] for row in rows)
        table.add_row(
            method,
            str(bits),
            f"{sum(row['kept'] for row in rows)}/{len(rows)}",
            f"{scores.mean():.3f} ± {scores.std() / len(rows) ** 0.5:.3f}",
            f"{1e3 * sum(row['symbolic_seconds'] for row in rows) / steps:.1f}",
            f"{1e3 * sum(row['neural_seconds'] for row in rows) / steps:.1f}",
        )
    return table


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CommonGen's validation.jsonl")
    parser.add_argument("--hmm", required=True, help="folder of a float HMM (or a compressed one)")
    parser.add_argument("--methods", nargs="+", default=["log-norm-q"])
    parser.add_argument("--bits", nargs="+", type=int, default=[8, 4, 3, 2])
    parser.add_argument("--mask_only", action="store_true", help="also without an HMM")
    parser.add_argument("--float", action="store_true", help="also with the HMM that was not compressed")
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--beams", type=int, default=8)
    parser.add_argument("--max_new_tokens", type=int, default=32)
    parser.add_argument("--output", required=True, help="JSON lines")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
