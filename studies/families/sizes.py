"""What do 3 to 20 keywords with 6 to 40 words take, and how likely are the texts?

    python -m studies.families.sizes --dataset_path validation.jsonl --sets 10 --output runs/sizes.jsonl

Concept sets are put together until there are enough keywords, each of which counts in every inflection; the constraint
asks for one sentence's number of words, not for one sentence. All seconds are of processor time.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from ctrlg.constraints import Keywords, WordCount
from ctrlg.defaults import EXACT_STATES
from ctrlg.errors import CtrlGError
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.generation import Generator
from ctrlg.inspection import explain
from ctrlg.parts.compiled_once import compiled_once
from studies.families.instances import merged
from studies.families.study import median_and_worst, processor_time, warm_up
from studies.shared import Key, Line, Measured, Study, StudyFlags, grouped, kept, table_of

LEAST_WORDS, MOST_WORDS = 6, 40
MOST_TOKENS = 64


class Sizes(Study):
    key = ("keywords", "number")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--keywords", nargs="+", type=int, default=[3, 5, 7, 10, 15, 20])
        flags.add_argument("--sets", type=int, default=10, help="of keywords, for each number of them")
        flags.share("hmm", "model", "concept_sets", "beams", "seed", threads=1)

    def batches(self) -> Iterable[Sequence[Key]]:
        for number in range(self.arguments.sets):
            for keywords in self.arguments.keywords:
                yield [(keywords, number)]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """One text, what it took, and the sizes that were chosen; nothing is kept from the sets before."""
        for count, number in keys:
            random = np.random.default_rng([self.arguments.seed, count, number])
            words = merged(self._all_sets, count, random)
            constraint = Keywords([[word] for word in words], inflect=True) & WordCount(LEAST_WORDS, MOST_WORDS)
            generator = Generator(*self.models, self.hmm)
            warm_up(*self.models, self.hmm)
            compiled_once.clear()
            line: dict[str, object] = {"words": list(words), "text": "", "kept": False, "refused": ""}
            try:
                with processor_time():
                    (best, *_) = generator(
                        constraint, suffix=".", max_new_tokens=MOST_TOKENS, num_beams=self.arguments.beams
                    )
                found = explain(constraint, generator, suffix=".", max_new_tokens=MOST_TOKENS, max_states=EXACT_STATES)
            except CtrlGError as error:
                yield (count, number), line | {"refused": str(error)}
                continue
            timing = best.timing
            yield (
                (count, number),
                line
                | {
                    "text": best.text,
                    "kept": best.satisfied,
                    "log_prob": best.log_prob,
                    "preparation": timing.preparation,
                    "symbolic": timing.symbolic,
                    "neural": timing.neural,
                    "exact": found.exact,
                    "states": found.states,
                    "nodes": found.nodes,
                    "table_bytes": found.table_bytes,
                    "in_core": sum(clause.in_core for clause in found.clauses),
                },
            )

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each number of keywords."""
        rows = []
        for (count,), some in sorted(grouped([line for line in lines if self.asks_for(line)], "keywords").items()):
            written = [line for line in some if not line["refused"]]
            row: dict[str, object] = {
                "keywords": count,
                "success": kept(some),
                "one automaton": sum(line["exact"] for line in written),
            }
            for name in ("preparation", "symbolic", "neural"):
                row[f"{name}, s"] = median_and_worst([line[name] for line in written])
            row["nodes"] = f"{statistics.median(line['nodes'] for line in written):.0f}"
            row["tables, MB"] = median_and_worst([line["table_bytes"] / 1e6 for line in written])
            row["nats a token"] = f"{statistics.mean(line['log_prob'] for line in written):.2f}"
            rows.append(row)
        return table_of(rows)

    @cached_property
    def _all_sets(self) -> list[ConceptSet]:
        return read_concept_sets(self.arguments.concept_sets)


if __name__ == "__main__":
    Sizes.main()
