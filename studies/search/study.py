"""How the search and the order of its sentences make better or worse ones from the same models.

    python -m studies.search.study --dataset_path validation.jsonl --sets 200 --output runs/search.jsonl

Every way writes a sentence for every concept set, as `ctrlg.generate` does; all its texts are lines of OUTPUT, and what
is there already is not written again. Filler, by rule: a word twice in a row, two marks of punctuation together
(quotation marks and brackets apart), or a second sentence.
"""

from __future__ import annotations

import argparse
import itertools
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ctrlg.constraints import OneSentence
from ctrlg.devices import fast_dtype
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.metrics.bleu import bleu_of, bleu_statistics
from ctrlg.evaluation.metrics.scores import mean_score
from ctrlg.evaluation.metrics.similarity import cider, rouge_l
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS, TOGETHER
from ctrlg.files.records import StudyLines, markdown_rows
from ctrlg.generation import generate_many
from ctrlg.generation.generator import LENGTH_PENALTY
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser

KEY = ("way", "concept_set_idx")
FILLER = (r"\b(\w+)\s+\1\b", r"[^\w\s'\"()]\s*[^\w\s'\"()]", r"[.!?]\s*[^\W\d]")


class Way(NamedTuple):
    """length_penalty: of search and order. one_sentence: whether the constraint asks for it. options: of `generate`."""

    length_penalty: float
    one_sentence: bool
    beams: int = 16
    options: Mapping[str, Any] = {}


WAYS = {
    "before": Way(1.0, False),
    "no bigram twice": Way(1.0, False, options={"no_repeat_ngram_size": 2}),
    "one sentence": Way(1.0, True),
    "one sentence, no bigram twice": Way(1.0, True, options={"no_repeat_ngram_size": 2}),
    "one sentence, 32 beams": Way(1.0, True, 32),
    "one sentence, strength 1.25": Way(1.0, True, options={"strength": 1.25}),
    "one sentence, strength 1.5": Way(1.0, True, options={"strength": 1.5}),
    "one sentence, strength 2": Way(1.0, True, options={"strength": 2.0}),
    "likelihood": Way(0.0, False),
    "one sentence, likelihood": Way(0.0, True),
    "now": Way(LENGTH_PENALTY, True),
}


def main() -> None:
    arguments = parse_arguments()
    sets = read_concept_sets(arguments.dataset_path, arguments.sets)
    with StudyLines(arguments.output, KEY) as lines:
        missing = [way for way in arguments.ways if any((way, member.number) not in lines for member in sets)]
        if missing:
            models = load_language_model(arguments.base_model, arguments.device, fast_dtype(arguments.device))
            hmm = load_hmm(arguments.hmm_model_path, device=arguments.device)
            for way in missing:
                write(lines, way, [member for member in sets if (way, member.number) not in lines], models, hmm)
    say(table(lines.lines, arguments.ways, sets))


def write(lines: StudyLines, name: str, sets: Sequence[ConceptSet], models: tuple[Any, Any], hmm: Any) -> None:
    """All texts of one way, best first, with their log-probabilities and the seconds that a set took."""
    way = WAYS[name]
    for first in range(0, len(sets), TOGETHER):
        group = sets[first : first + TOGETHER]
        promises = [member.promise(LEAST_WORDS, MOST_WORDS) for member in group]
        if way.one_sentence:
            promises = [promise & OneSentence() for promise in promises]
        started = time.process_time()
        results = generate_many(
            *models, hmm, promises, num_beams=way.beams, num_return_sequences=way.beams, progress=False,
            length_penalty=way.length_penalty, **way.options,
        )  # fmt: skip
        seconds = (time.process_time() - started) / len(group)
        for member, texts in zip(group, results, strict=True):
            lines.add(
                (name, member.number),
                {
                    "concepts": list(member.concepts),
                    "sentences": [text.text.strip() for text in texts],
                    "log_probs": [text.log_prob for text in texts],
                    "kept": all(text.satisfied for text in texts),
                    "seconds": seconds,
                },
            )


def table(lines: Sequence[Mapping[str, Any]], ways: Sequence[str], sets: Sequence[ConceptSet]) -> str:
    """A row for each way, all of the same concept sets, paired with the first way."""
    references = {member.number: member.references for member in sets}
    found = {(line["way"], line["concept_set_idx"]): line for line in lines}
    numbers = [number for number in references if all((way, number) in found for way in ways)]
    rows: list[list[Any]] = [
        ["way", "sets", "kept", "filler", "CIDEr", "more than the first, paired", "BLEU-4", "ROUGE-L", "distinct-2",
         "nats a token", "seconds, of the first"]
    ]  # fmt: skip
    against = [references[number] for number in numbers]
    base: list[float] = []
    seconds = 0.0
    for way in ways:
        mine = [found[way, number] for number in numbers]
        texts = [line["sentences"][0] for line in mine]
        scores = cider(texts, against).tolist()
        spent = statistics.mean(line["seconds"] for line in mine)
        base, seconds = base or scores, seconds or spent
        gained = mean_score([score - other for score, other in zip(scores, base, strict=True)], numbers)
        rows.append(
            [way, len(numbers), f"{sum(line['kept'] for line in mine)}/{len(mine)}",
             f"{100 * statistics.mean(map(has_filler, texts)):.1f} %", f"{statistics.mean(scores):.3f}", gained,
             f"{float(bleu_of(bleu_statistics(texts, against).sum(axis=0, keepdims=True)).reshape(-1)[3]):.3f}",
             f"{float(np.mean(rouge_l(texts, against).mean)):.3f}", f"{distinct_bigrams(texts):.3f}",
             f"{statistics.mean(line['log_probs'][0] for line in mine):.3f}", f"{spent / seconds:.2f} x"]
        )  # fmt: skip
    return markdown_rows(rows)


def has_filler(text: str) -> bool:
    """See the top of this file."""
    return any(re.search(rule, text, re.IGNORECASE) for rule in FILLER)


def distinct_bigrams(texts: Sequence[str]) -> float:
    """Different pairs of neighbouring words over all such pairs."""
    pairs = [pair for text in texts for pair in itertools.pairwise(text.lower().split())]
    return len(set(pairs)) / len(pairs)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=["before", "now"], help="(before now)")
    parser.add_argument("--hmm_model_path", default="default", help="(%(default)s)")
    parser.add_argument("--base_model", default="default", help="the language model it comes from (%(default)s)")
    parser.add_argument("--dataset_path", default="default", help="concept sets with references (%(default)s)")
    parser.add_argument("--sets", type=int, default=60, help="concept sets, spread evenly (%(default)s)")
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
