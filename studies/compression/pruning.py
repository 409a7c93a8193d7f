"""Is there a cliff? Constraints kept against the share of an HMM's entries that pruning drops.

    python -m studies.compression.pruning --data validation.jsonl --output runs/pruning.jsonl
    python -m studies.compression.pruning --data validation.jsonl --hmm runs/hmm/best \\
        --ratios 0.5 0.9 --output runs/pruning.jsonl

Under the soft mask the HMM alone steers, and success is lost where it has no probability left for what would keep the
constraint; the hard mask keeps it always. Each sentence is a line of OUTPUT; what is there already is not written
again.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from ctrlg.files.records import markdown_rows
from ctrlg.quantization import comparison_hmm
from ctrlg.quantization.baselines.pruning import check_ratio
from studies.shared import Key, Line, Measured, Study, StudyFlags, grouped, kept

RATIOS = [0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.83, 0.86, 0.89, 0.92, 0.95]


class Pruning(Study):
    key = ("hmm", "ratio", "mask", "beams", "concept_set_idx")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--ratios", nargs="+", type=float, default=RATIOS, help="of entries that are dropped")
        flags.share("hmm", "model", "concept_sets", "beams", sets=25, masks=["soft", "hard"])

    def check(self) -> None:
        for ratio in self.arguments.ratios:
            check_ratio(ratio)

    def batches(self) -> Iterable[Sequence[Key]]:
        for ratio, mask in product(self.arguments.ratios, self.arguments.masks):
            yield [(self.arguments.hmm, ratio, mask, self.arguments.beams, number) for number in self.sets]

    def measure(self, keys: Sequence[Key]) -> Measured:
        *setting, _ = keys[0]
        _, ratio, mask, _ = setting
        missing = [number for *_, number in keys]
        hmm = comparison_hmm(self.reference, "prune", ratio=ratio)
        left = what_is_left(hmm)
        for sentence in self.sentences(self.models, hmm, missing, soft_mask=mask == "soft"):
            yield (*setting, sentence.concept_set.number), {**sentence.record, **left}

    def wants(self, line: Line) -> bool:
        return line["hmm"] == self.arguments.hmm

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each ratio: what is left of the HMM, constraints kept and log-probability under either mask."""
        rows: list[Sequence[object]] = [
            ["ratio", "empty rows, transition", "empty rows, emission", "tokens that a state writes"]
            + [f"{column}, {mask} mask" for mask in ("soft", "hard") for column in ("kept", "log-probability")]
        ]
        for (ratio,), mine in sorted(grouped(lines, "ratio").items()):
            first = mine[0]
            row: list[object] = [
                ratio,
                first["empty_transition_rows"],
                first["empty_emission_rows"],
                f"{first['tokens_written']:,}",
            ]
            for mask in ("soft", "hard"):
                group = [line for line in mine if line["mask"] == mask]
                row.append(kept(group))
                row.append(f"{statistics.mean(line['log_prob'] for line in group):.2f}" if group else "")
            rows.append(row)
        return markdown_rows(rows)


def what_is_left(hmm: Any) -> dict[str, int]:
    """Rows that lost every entry, and tokens that some state still writes."""
    transition, emission = hmm.transition.to_dense(), hmm.emission.to_dense()
    return {
        "empty_transition_rows": int((transition.amax(1) == 0).sum()),
        "empty_emission_rows": int((emission.amax(1) == 0).sum()),
        "tokens_written": int((emission.amax(0) > 0).sum()),
    }


if __name__ == "__main__":
    Pruning.main()
