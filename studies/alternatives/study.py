"""What would people use instead? CommonGen's concept sets written in several ways, with and without an HMM.

    python -m studies.alternatives.study --data validation.jsonl --examples train.jsonl --limit 50 \\
        --output runs/alternatives.jsonl
    python -m studies.alternatives.study --data validation.jsonl --limit 25 --ways outlines \\
        --output runs/alternatives.jsonl

hmm and mask-only search with --beams under the mask, with the HMM's look-ahead and without. outlines, outlines' own
generation by a regular expression: all concepts in the order given, in any inflection, and an even share of the other
words between them, since the expression of the whole constraint (--counting exact --any_order) has millions of
characters (benchmarks/outlines_index.py measures what its index takes); so many samples as beams, because its state is
lost in a beam search. prompt and prompt-examples ask the language model before it was adapted, in its chat format,
without and with three answered requests.

All are judged by the same adapted language model. Seconds are those of the clock; ways are taken in turn, a few sets at
a time, so that a busy machine slows all of them alike. hmm and mask-only search for four sets at once, the others for
one after another. Every sentence is a line of OUTPUT; what is there is not written again, and the table shows the sets
and ways that were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from ctrlg.adaptation.sentences import end_of_text_id
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.metrics.tokens import require_scorers
from ctrlg.evaluation.synthetic import float_bytes
from ctrlg.evaluation.tables import SHOWN, rows_of
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS, TOGETHER, write_sentences
from ctrlg.files.records import markdown_rows
from ctrlg.quantization import QuantizedHMM
from studies.alternatives.expressions import Attempt, Counting, constraint_pattern
from studies.alternatives.outlines_generation import OutlinesWriter, require_outlines
from studies.alternatives.prompting import messages, write_asked
from studies.shared import Key, Line, Measured, Study, StudyFlags, log_probabilities

WORDS = (LEAST_WORDS, MOST_WORDS)
WAYS = ("hmm", "mask-only", "outlines", "prompt", "prompt-examples")
EXAMPLES = 3
ENDING = 2  # tokens behind a content: full stop and end of text

Write = Callable[[Sequence[ConceptSet]], Iterator[tuple[ConceptSet, Attempt]]]


class Alternatives(Study):
    key = ("method", "concept_set_idx")
    for_table = ("concept_sets",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--examples", default="", help="the same, for the worked examples of prompt-examples")
        add("--ways", nargs="+", choices=WAYS, default=list(WAYS))
        add("--instructed_model", default="default-base", help="the language model that is prompted")
        counting = "of words in outlines' expression, see studies.alternatives.expressions"
        add("--counting", choices=[each.value for each in Counting], default=Counting.SHARED.value, help=counting)
        add("--any_order", action="store_true", help="outlines' expression takes concepts in any order")
        flags.share("hmm", "model", "concept_sets", "sets", "max_new_tokens", beams=16)

    def check(self) -> None:
        if "prompt-examples" in self.arguments.ways and not self.arguments.examples:
            raise ArgumentError("prompt-examples, but no --examples", hint="name a training file, or leave the way out")
        require_scorers()
        if "outlines" in self.arguments.ways:
            require_outlines()

    def batches(self) -> Iterable[Sequence[Key]]:
        numbers = list(self.sets)
        for first in range(0, len(numbers), TOGETHER):
            for way in self.arguments.ways:
                yield [(way, number) for number in numbers[first : first + TOGETHER]]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """A way's first sentence is written twice: what is compiled and loaded for the first time would count as the
        time of one sentence."""
        way = keys[0][0]
        numbers = list(self.sets)
        first = numbers.index(keys[0][1]) // TOGETHER * TOGETHER
        group = [self.sets[number] for number in numbers[first : first + TOGETHER]]  # whole, whatever is missing
        if way not in self.ways:
            self.ways[way] = self._way(way)
            list(self.ways[way](group[:1]))
        for member, attempt in self.ways[way](group):
            if (way, member.number) in keys:
                yield (
                    (way, member.number),
                    {
                        "concepts": member.concepts,
                        "sentences": [attempt.text],
                        "kept": member.constraint(*WORDS).holds(attempt.text),
                        "log_prob": log_probabilities(*self.models, [attempt.text])[0],
                        "setup_seconds": round(attempt.setup_seconds, 4),
                        "seconds": round(attempt.seconds, 3),
                        "symbolic_seconds": round(attempt.symbolic_seconds, 4),
                        "steps": attempt.steps,
                        "bytes": stored_bytes(self.hmm) if way == "hmm" else 0,
                    },
                )

    @cached_property
    def ways(self) -> dict[str, Write]:
        """The ways that are warm."""
        return {}

    def _way(self, way: str) -> Write:
        if way in ("hmm", "mask-only"):
            return lambda group: self._guided(group, self.hmm if way == "hmm" else None)
        if way == "outlines":
            return self._outlines()
        return self._asked(read_concept_sets(self.arguments.examples, EXAMPLES) if way == "prompt-examples" else [])

    def _guided(self, group: Sequence[ConceptSet], hmm: Any) -> Iterator[tuple[ConceptSet, Attempt]]:
        arguments = self.arguments
        limits = (arguments.beams, arguments.max_new_tokens)
        for sentence in write_sentences(*self.models, hmm, group, *limits, words=WORDS):
            preparation, symbolic, neural, steps = sentence.best.timing
            yield sentence.concept_set, Attempt(sentence.best.text, preparation, symbolic + neural, symbolic, steps)

    def _outlines(self) -> Write:
        arguments = self.arguments
        tokens = arguments.max_new_tokens + ENDING
        writer = OutlinesWriter(*self.models, end_of_text_id(self.models[1]), arguments.beams, tokens)

        def write(group: Sequence[ConceptSet]) -> Iterator[tuple[ConceptSet, Attempt]]:
            for member in group:
                pattern = constraint_pattern(member.concepts, WORDS, Counting(arguments.counting), arguments.any_order)
                yield member, writer.write(pattern, seed=member.number)

        return write

    def _asked(self, examples: Sequence[ConceptSet]) -> Write:
        arguments = self.arguments
        model, tokenizer = self.load_model(arguments.instructed_model)

        def write(group: Sequence[ConceptSet]) -> Iterator[tuple[ConceptSet, Attempt]]:
            limits = (arguments.beams, arguments.max_new_tokens + ENDING)
            for member in group:
                yield member, write_asked(model, tokenizer, messages(member.concepts, WORDS, examples), *limits)

        return write

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each way, scores with their 95 % intervals."""
        references = {number: member.references for number, member in self.sets.items()}
        heads = ["way", "sentences", "kept", *SHOWN.values(), "log-probability", "set-up, s", "ms a token"]
        rows: list[list[object]] = []
        for way in self.arguments.ways:
            shown = [line for line in lines if line["method"] == way and line["concept_set_idx"] in references]
            (row,) = rows_of(shown, references)
            setup = sum(line["setup_seconds"] for line in shown) / len(shown)
            scores = [row.scores[name] for name in (*SHOWN, "log_prob")]
            rows.append([way, row.sentences, row.kept, *scores, f"{setup:.2f}", f"{row.milliseconds:.0f}"])
        return markdown_rows([heads, *rows])


def stored_bytes(hmm: Any) -> int:
    """Bytes of its file, or of its matrices in float32."""
    return hmm.packed_nbytes if isinstance(hmm, QuantizedHMM) else float_bytes(*hmm.emission.shape)


if __name__ == "__main__":
    Alternatives.main()
