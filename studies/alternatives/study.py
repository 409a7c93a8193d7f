"""What would people use instead? CommonGen's concept sets written in several ways, with and without an HMM.

    python -m studies.alternatives.study --dataset_path validation.jsonl --examples train.jsonl --limit 50 \\
        --output runs/alternatives.jsonl
    python -m studies.alternatives.study --dataset_path validation.jsonl --limit 25 --ways outlines \\
        --output runs/alternatives.jsonl

hmm and mask-only search with --beams under the mask, with the HMM's look-ahead and without. outlines, outlines' own
generation by a regular expression: all concepts in the order given, in any inflection, and an even share of the other
words between them, since the expression of the whole promise (--counting exact --any_order) has millions of characters
(benchmarks/outlines_index.py measures what its index takes); so many samples as beams, because its state is lost in a
beam search. prompt and prompt-examples ask the language model before it was adapted, in its chat format, without and
with three answered requests.

All are judged by the same adapted language model. Seconds are those of the clock; ways are taken in turn, a few sets at
a time, so that a busy machine slows all of them alike. hmm and mask-only search for four sets at once, the others for
one after another. Every sentence is a line of OUTPUT; what is there is not written again, and the table shows the sets
and ways that were asked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.progress import Progress

from ctrlg.adaptation.sentences import end_of_text_id
from ctrlg.devices import fast_dtype
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.metrics.tokens import require_scorers
from ctrlg.evaluation.synthetic import float_bytes
from ctrlg.evaluation.tables import SHOWN, rows_of
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS, TOGETHER, write_sentences
from ctrlg.files.records import StudyLines, markdown_rows
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import load_language_model
from ctrlg.quantization import QuantizedHMM
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.plain_console import PlainConsole
from studies.alternatives.expressions import Attempt, Counting, promise_pattern
from studies.alternatives.outlines_generation import OutlinesWriter, require_outlines
from studies.alternatives.prompting import messages, write_asked
from studies.shared.judging import log_probabilities

WORDS = (LEAST_WORDS, MOST_WORDS)
WAYS = ("hmm", "mask-only", "outlines", "prompt", "prompt-examples")
EXAMPLES = 3
ENDING = 2  # tokens behind a content: full stop and end of text

Write = Callable[[Sequence[ConceptSet]], Iterator[tuple[ConceptSet, Attempt]]]


def main() -> None:
    arguments = parse_arguments()
    require_scorers()
    if "outlines" in arguments.ways:
        require_outlines()
    sets = read_concept_sets(arguments.dataset_path, arguments.limit)
    lines = StudyLines(arguments.output, ("method", "concept_set_idx"))
    study: Study | None = None
    with Progress(console=PlainConsole(stderr=True)) as progress:
        task = progress.add_task("writing", total=len(arguments.ways) * len(sets))
        for first in range(0, len(sets), TOGETHER):
            group = sets[first : first + TOGETHER]
            for way in arguments.ways:
                if any((way, member.number) not in lines for member in group):
                    study = study or Study(arguments)
                    for member, line in study.write(way, group):
                        if (way, member.number) not in lines:
                            lines.add((way, member.number), line)
                progress.advance(task, len(group))
    say(table(lines.lines, sets, arguments.ways))


class Study:
    """The language models, and the ways that are asked for."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.model, self.tokenizer = load_language_model(
            arguments.base_model, arguments.device, fast_dtype(arguments.device)
        )
        self.end_of_text = end_of_text_id(self.tokenizer)
        self.hmm = load_hmm(arguments.hmm_model_path, arguments.device) if "hmm" in arguments.ways else None
        self.ways: dict[str, Write] = {way: self._way(way) for way in arguments.ways}
        self.ready: set[str] = set()

    def write(self, way: str, group: Sequence[ConceptSet]) -> Iterator[tuple[ConceptSet, dict[str, Any]]]:
        """A line of the results for every concept set. A way's first sentence is written twice: what is compiled and
        loaded for the first time would count as the time of one sentence."""
        if way not in self.ready:
            list(self.ways[way](group[:1]))
            self.ready.add(way)
        for member, attempt in self.ways[way](group):
            yield (
                member,
                {
                    "concepts": member.concepts,
                    "sentences": [attempt.text],
                    "kept": member.promise(*WORDS).holds(attempt.text),
                    "log_prob": log_probabilities(self.model, self.tokenizer, [attempt.text])[0],
                    "setup_seconds": round(attempt.setup_seconds, 4),
                    "seconds": round(attempt.seconds, 3),
                    "symbolic_seconds": round(attempt.symbolic_seconds, 4),
                    "steps": attempt.steps,
                    "bytes": stored_bytes(self.hmm) if way == "hmm" else 0,
                },
            )

    def _way(self, way: str) -> Write:
        if way in ("hmm", "mask-only"):
            return lambda group: self._guided(group, self.hmm if way == "hmm" else None)
        if way == "outlines":
            return self._outlines()
        return self._asked(read_concept_sets(self.arguments.examples, EXAMPLES) if way == "prompt-examples" else [])

    def _guided(self, group: Sequence[ConceptSet], hmm: Any) -> Iterator[tuple[ConceptSet, Attempt]]:
        arguments = self.arguments
        limits = (arguments.beams, arguments.max_new_tokens)
        for sentence in write_sentences(self.model, self.tokenizer, hmm, group, *limits, words=WORDS):
            preparation, symbolic, neural, steps = sentence.best.timing
            yield sentence.concept_set, Attempt(sentence.best.text, preparation, symbolic + neural, symbolic, steps)

    def _outlines(self) -> Write:
        arguments = self.arguments
        tokens = arguments.max_new_tokens + ENDING
        writer = OutlinesWriter(self.model, self.tokenizer, self.end_of_text, arguments.beams, tokens)

        def write(group: Sequence[ConceptSet]) -> Iterator[tuple[ConceptSet, Attempt]]:
            for member in group:
                pattern = promise_pattern(member.concepts, WORDS, Counting(arguments.counting), arguments.any_order)
                yield member, writer.write(pattern, seed=member.number)

        return write

    def _asked(self, examples: Sequence[ConceptSet]) -> Write:
        arguments = self.arguments
        model, tokenizer = load_language_model(
            arguments.instructed_model, arguments.device, fast_dtype(arguments.device)
        )

        def write(group: Sequence[ConceptSet]) -> Iterator[tuple[ConceptSet, Attempt]]:
            limits = (arguments.beams, arguments.max_new_tokens + ENDING)
            for member in group:
                yield member, write_asked(model, tokenizer, messages(member.concepts, WORDS, examples), *limits)

        return write


def stored_bytes(hmm: Any) -> int:
    """Bytes of its file, or of its matrices in float32."""
    return hmm.packed_nbytes if isinstance(hmm, QuantizedHMM) else float_bytes(*hmm.emission.shape)


def table(lines: Sequence[dict[str, Any]], sets: Sequence[ConceptSet], ways: Sequence[str]) -> str:
    """A row for each way, scores with their 95 % intervals."""
    references = {member.number: member.references for member in sets}
    heads = ["way", "sentences", "kept", *SHOWN.values(), "log-probability", "set-up, s", "ms a token"]
    rows: list[list[object]] = []
    for way in ways:
        shown = [line for line in lines if line["method"] == way and line["concept_set_idx"] in references]
        (row,) = rows_of(shown, references)
        setup = sum(line["setup_seconds"] for line in shown) / len(shown)
        scores = [row.scores[name] for name in (*SHOWN, "log_prob")]
        rows.append([way, row.sentences, row.kept, *scores, f"{setup:.2f}", f"{row.milliseconds:.0f}"])
    return markdown_rows([heads, *rows])


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--dataset_path", required=True, help="concept sets with references, JSON lines")
    parser.add_argument("--examples", default="", help="the same, for the worked examples of prompt-examples")
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="(all)")
    parser.add_argument("--limit", type=int, help="concept sets, spread evenly (all)")
    parser.add_argument("--beams", type=int, default=16, help="and samples of outlines (%(default)s)")
    parser.add_argument("--max_new_tokens", type=int, default=32)
    parser.add_argument("--base_model", default="default", help="the adapted language model, and judge (%(default)s)")
    parser.add_argument("--hmm_model_path", default="default", help="distilled from it (%(default)s)")
    parser.add_argument("--instructed_model", default="default-base", help="the one that is prompted (%(default)s)")
    parser.add_argument(
        "--counting",
        choices=[counting.value for counting in Counting],
        default=Counting.SHARED.value,
        help="of words in outlines' expression, see studies.alternatives.expressions (%(default)s)",
    )
    parser.add_argument("--any_order", action="store_true", help="outlines' expression takes concepts in any order")
    parser.add_device()
    arguments = parser.parse_args()
    if "prompt-examples" in arguments.ways and not arguments.examples:
        raise ArgumentError("prompt-examples, but no --examples", hint="name a training file, or leave the way out")
    return arguments


if __name__ == "__main__":
    with as_program():
        main()
