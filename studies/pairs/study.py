"""Which pair of language model and HMM writes better under a constraint? CommonGen's concept sets, against references.

    python -m studies.pairs.study --data validation.jsonl --sets 50 --output runs/pairs.jsonl \\
        --pair before runs/before/model runs/before/hmm --pair after default default
    python -m studies.pairs.study --data validation.jsonl --sets 100 --output runs/halves.jsonl \\
        --pair "float + float" default runs/hmm/best --pair "tweaked + compressed" runs/tweaked.gguf default \\
        --table runs/halves.md --plot fig/both_halves.svg

Every pair writes one sentence a concept set (every concept in some inflection, 6 to 16 words), ranked by its own
language model. Printed are constraints kept, BLEU-4, CIDEr, the log-probability per token under --judge, one language
model for all pairs, and what it gains on the first pair, set by set, all with 95 % bootstrap intervals; with --bytes or
--plot also what both halves weigh on disk. Sentences are written to the output as they come; an interrupted run goes on
where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ctrlg.errors import ArgumentError
from ctrlg.evaluation.metrics.tokens import require_scorers
from ctrlg.loading import load_hmm
from studies.pairs.comparison import Pair, PairResult, pair_results, pairs_table, plot_pairs
from studies.shared import Key, Line, Measured, Study, StudyFlags


class Pairs(Study):
    key = ("pair", "concept_set_idx")
    figures = ("figure",)
    for_table = ("concept_sets", "pair")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument(
            "--pair", nargs=3, action="append", required=True, metavar=("NAME", "MODEL", "HMM"), help="may be repeated"
        )
        flags.add_argument("--judge", default="default", help="language model that judges all sentences")
        flags.add_argument("--bytes", action="store_true", help="show what both halves weigh on disk")
        flags.share("concept_sets", "max_new_tokens", sets=50, beams=16)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        require_scorers()
        self.pairs = {name: Pair(name, model, hmm) for name, model, hmm in self.arguments.pair}
        if len(self.pairs) < len(self.arguments.pair):
            raise ArgumentError("two pairs have one name", hint="results are filed under it: rename one")
        weighed = self.arguments.bytes or self.arguments.figure
        self.sizes = {name: pair.sizes() for name, pair in self.pairs.items()} if weighed else {}

    def batches(self) -> Iterable[Sequence[Key]]:
        return [[(name, number) for number in self.sets] for name in self.pairs]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """The ranked sentences of one pair."""
        pair, missing = self.pairs[keys[0][0]], [number for _, number in keys]
        models, hmm = self.load_model(pair.model), load_hmm(pair.hmm, self.arguments.device)
        for sentence in self.sentences(models, hmm, missing, max_new_tokens=self.arguments.max_new_tokens):
            yield (pair.name, sentence.concept_set.number), sentence.record

    def wants(self, line: Line) -> bool:
        return line["pair"] in self.pairs and line["concept_set_idx"] in self.sets

    def digest(self, lines: Sequence[Line]) -> list[PairResult]:
        references = {number: concept_set.references for number, concept_set in self.sets.items()}
        judge = self.load_model(self.arguments.judge)
        return pair_results(list(self.pairs.values()), lines, references, judge, self.sizes)

    def table(self, lines: Sequence[PairResult]) -> str:
        return pairs_table(lines, self.arguments.judge)

    def figure(self, lines: Sequence[PairResult]) -> Any:
        return plot_pairs(lines)


if __name__ == "__main__":
    Pairs.main()
