"""Is there a cliff? Constraints kept against the share of an HMM's entries that pruning drops.

    python -m studies.compression.pruning --dataset_path validation.jsonl --output runs/pruning.jsonl
    python -m studies.compression.pruning --dataset_path validation.jsonl --hmm_model_path runs/hmm/best \\
        --ratios 0.5 0.9 --output runs/pruning.jsonl

Under the soft mask the HMM alone steers, and success is lost where it has no probability left for what would keep the
constraint; the hard mask keeps it always. Each sentence is a line of OUTPUT; what is there already is not written
again.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ctrlg.devices import fast_dtype
from ctrlg.evaluation.benchmark import float_hmm
from ctrlg.evaluation.concept_sets import read_concept_sets
from ctrlg.evaluation.writing import write_sentences
from ctrlg.files.records import StudyLines, markdown_rows
from ctrlg.loading.language_models import load_language_model
from ctrlg.quantization import comparison_hmm
from ctrlg.quantization.baselines.pruning import check_ratio
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser

KEY = ("hmm", "ratio", "mask", "beams", "concept_set_idx")
RATIOS = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.83, 0.86, 0.89, 0.92, 0.95)


def main() -> None:
    arguments = parse_arguments()
    for ratio in arguments.ratios:
        check_ratio(ratio)
    sets = read_concept_sets(arguments.dataset_path, arguments.sets)
    lines = StudyLines(arguments.output, KEY)
    reference = float_hmm(arguments.hmm_model_path, arguments.device)
    model, tokenizer = load_language_model(arguments.base_model, arguments.device, fast_dtype(arguments.device))
    for ratio in arguments.ratios:
        hmm = comparison_hmm(reference, "prune", ratio=ratio)
        left = what_is_left(hmm)
        for mask in arguments.masks:
            key = (arguments.hmm_model_path, ratio, mask, arguments.beams)
            for sentence in write_sentences(
                model,
                tokenizer,
                hmm,
                sets,
                arguments.beams,
                soft_mask=mask == "soft",
                there=lambda member, key=key: (*key, member.number) in lines,
            ):
                lines.add((*key, sentence.concept_set.number), {**sentence.record, **left})
    lines.close()
    say(table([line for line in lines.lines if line["hmm"] == arguments.hmm_model_path]))


def what_is_left(hmm: Any) -> dict[str, int]:
    """Rows that lost every entry, and tokens that some state still writes."""
    transition, emission = hmm.transition.to_dense(), hmm.emission.to_dense()
    return {
        "empty_transition_rows": int((transition.amax(1) == 0).sum()),
        "empty_emission_rows": int((emission.amax(1) == 0).sum()),
        "tokens_written": int((emission.amax(0) > 0).sum()),
    }


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row for each ratio: what is left of the HMM, constraints kept and log-probability under either mask."""
    rows: list[list[Any]] = [
        ["ratio", "empty rows, transition", "empty rows, emission", "tokens that a state writes"]
        + [f"{column}, {mask} mask" for mask in ("soft", "hard") for column in ("kept", "log-probability")]
    ]
    for ratio in sorted({line["ratio"] for line in lines}):
        mine = [line for line in lines if line["ratio"] == ratio]
        first = mine[0]
        row = [ratio, first["empty_transition_rows"], first["empty_emission_rows"], f"{first['tokens_written']:,}"]
        for mask in ("soft", "hard"):
            group = [line for line in mine if line["mask"] == mask]
            row.append(f"{sum(line['kept'] for line in group)}/{len(group)}")
            row.append(f"{statistics.mean(line['log_prob'] for line in group):.2f}" if group else "")
        rows.append(row)
    return markdown_rows(rows)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--ratios", nargs="+", type=float, default=list(RATIOS), help="of entries that are dropped")
    parser.add_argument("--masks", nargs="+", choices=("soft", "hard"), default=["soft", "hard"])
    parser.add_argument("--hmm_model_path", default="default", help="unpacked if compressed (%(default)s)")
    parser.add_argument("--base_model", default="default", help="the language model it comes from (%(default)s)")
    parser.add_argument("--dataset_path", required=True, help="concept sets, JSON lines")
    parser.add_argument("--sets", type=int, default=25, help="concept sets, spread evenly (%(default)s)")
    parser.add_argument("--beams", type=int, default=8)
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
