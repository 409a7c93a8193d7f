"""Is the model at fault for bad sentences, or the search? Ways to search, and to order what was found.

    python -m studies.search.study --data validation.jsonl --sets 200 --output runs/search.jsonl

Every way writes a sentence for every concept set, as `ctrlg.generate` does; all its texts are lines of OUTPUT, and what
is there already is not written again. Filler, by rule: a word twice in a row, two marks of punctuation together
(quotation marks and brackets apart), or a second sentence.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ctrlg.constraints import Constraint, OneSentence
from ctrlg.engines.requests import Guiding, Request
from ctrlg.evaluation.metrics.bleu import bleu_of, bleu_statistics
from ctrlg.evaluation.metrics.scores import mean_score
from ctrlg.evaluation.metrics.similarity import cider, rouge_l
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS, TOGETHER
from ctrlg.generation import GenerationResult, generate_many, score_generated_ids
from ctrlg.generation.generator import LENGTH_PENALTY
from ctrlg.generation.results import Timing
from studies.search.particles import particles
from studies.shared import (
    IN_CAPTIONS,
    Key,
    Line,
    Measured,
    Study,
    StudyFlags,
    falling_strength,
    has_filler,
    kept,
    table_of,
)

MOST_TOKENS = 32
SUFFIX = "."
NO_TIMING = Timing(0.0, 0.0, 0.0, 0)  # the study takes its own


class Way(NamedTuple):
    """length_penalty: of search and order. one_sentence: whether the constraint asks for it. beams: also the texts that
    are ordered; as many are sampled where options say so. options: of `generate`. falling: the strength falls to 1 as
    tokens run out. particles: so many instead of a search. unadapted: what the unadapted model's score weighs in the
    order; the model's own weighs the rest."""

    length_penalty: float
    one_sentence: bool
    beams: int = 16
    options: Mapping[str, Any] = {}
    falling: bool = False
    particles: int = 0
    unadapted: float = 0.0


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
    "now, strength 0.85": Way(LENGTH_PENALTY, True, options={"strength": 0.85}),
    "now, strength 1.25": Way(LENGTH_PENALTY, True, options={"strength": 1.25}),
    "now, 1.25 falling": Way(LENGTH_PENALTY, True, options={"strength": 1.25}, falling=True),
    "now, 1.5 falling": Way(LENGTH_PENALTY, True, options={"strength": 1.5}, falling=True),
    "now, 2 falling": Way(LENGTH_PENALTY, True, options={"strength": 2.0}, falling=True),
    "now, one automaton": Way(LENGTH_PENALTY, True, options={"max_states": 100_000}),
    "now, in parts": Way(LENGTH_PENALTY, True, options={"max_states": 1}),
    "now, 64 samples": Way(LENGTH_PENALTY, True, 64, {"do_sample": True, "seed": 0}),
    "now, 32 particles": Way(LENGTH_PENALTY, True, particles=32),
    "now, a quarter by the unadapted model": Way(LENGTH_PENALTY, True, unadapted=0.25),
    "now, half by the unadapted model": Way(LENGTH_PENALTY, True, unadapted=0.5),
}


class Search(Study):
    key = ("way", "concept_set_idx")
    for_table = ("concept_sets",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--ways", nargs="+", choices=list(WAYS), default=["before", "now"])
        flags.share("hmm", "model", concept_sets="default", sets=60)

    def batches(self) -> Iterable[Sequence[Key]]:
        numbers = list(self.sets)
        for way in self.arguments.ways:
            for first in range(0, len(numbers), TOGETHER):
                yield [(way, number) for number in numbers[first : first + TOGETHER]]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """All texts of one way, best first, with their log-probabilities and the seconds that a set took."""
        name = keys[0][0]
        way = WAYS[name]
        group = [self.sets[number] for _, number in keys]
        constraints = [member.constraint(LEAST_WORDS, MOST_WORDS) for member in group]
        if way.one_sentence:
            constraints = [constraint & OneSentence() for constraint in constraints]
        started = time.process_time()
        if way.particles:
            results = [self._of_particles(constraint, way) for constraint in constraints]
        else:
            results = self._of_search(constraints, way)
        if way.unadapted:
            results = [self._by_both_models(texts, way) for texts in results]
        seconds = (time.process_time() - started) / len(group)
        for member, texts in zip(group, results, strict=True):
            values = {
                "concepts": list(member.concepts),
                "sentences": [text.text.strip() for text in texts],
                "log_probs": [text.log_prob for text in texts],
                "kept": all(text.satisfied for text in texts),
                "seconds": seconds,
            }
            yield (name, member.number), values

    def _of_search(self, constraints: Sequence[Constraint], way: Way) -> list[list[GenerationResult]]:
        strength = way.options.get("strength", 1.0)
        with falling_strength(strength, MOST_TOKENS) if way.falling else nullcontext():
            return generate_many(
                *self.models,
                self.hmm,
                constraints,
                suffix=SUFFIX,
                max_new_tokens=MOST_TOKENS,
                num_beams=None if way.options.get("do_sample") else way.beams,
                num_return_sequences=way.beams,
                progress=False,
                length_penalty=way.length_penalty,
                **way.options,
            )

    def _of_particles(self, constraint: Constraint, way: Way) -> list[GenerationResult]:
        """The particles' different texts, in the order of a search."""
        model, tokenizer = self.models
        guiding = self._guiding
        start = guiding.cursor(Request(constraint, suffix=SUFFIX, max_new_tokens=MOST_TOKENS))
        contents = list(dict.fromkeys(particles(model, guiding.batch, start, way.particles, seed=0)))
        end, after = tokenizer.eos_token_id, start.guide.suffix_ids
        results = []
        for scored in score_generated_ids(model, contents, [end], after):
            text = guiding.vocabulary.join(scored.token_ids).decode("utf-8", errors="replace") + SUFFIX
            kept = constraint.holds(text)
            results.append(GenerationResult(text, scored.token_ids, scored.log_prob, scored.total, kept, NO_TIMING))
        return sorted(results, key=lambda text: -penalized(text, len(after), way.length_penalty))

    @cached_property
    def _guiding(self) -> Guiding:
        return Guiding(self.models[1], self.hmm)

    def _by_both_models(self, results: Sequence[GenerationResult], way: Way) -> list[GenerationResult]:
        """Texts ordered by what the model that wrote them and the unadapted one think of them."""
        unadapted, tokenizer = self._unadapted
        end = tokenizer.eos_token_id
        after = [*tokenizer.encode(SUFFIX), end]
        contents = [text.token_ids for text in results]
        other = score_generated_ids(unadapted, contents, [end], after, length_penalty=way.length_penalty)
        score = {
            text.token_ids: (1 - way.unadapted) * penalized(text, len(after), way.length_penalty)
            + way.unadapted * scored.log_prob
            for text, scored in zip(results, other, strict=True)
        }
        return sorted(results, key=lambda text: -score[text.token_ids])

    @cached_property
    def _unadapted(self) -> tuple[Any, Any]:
        return self.load_model("instruct")

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each way, all of the same concept sets, paired with the first way."""
        references = {number: member.references for number, member in self.sets.items()}
        found = {(line["way"], line["concept_set_idx"]): line for line in lines}
        numbers = [number for number in references if all((way, number) in found for way in self.arguments.ways)]
        against = [references[number] for number in numbers]
        rows: list[dict[str, object]] = []
        base: list[float] = []
        seconds = 0.0
        for way in self.arguments.ways:
            mine = [found[way, number] for number in numbers]
            texts = [line["sentences"][0] for line in mine]
            scores = cider(texts, against).tolist()
            spent = statistics.mean(line["seconds"] for line in mine)
            base, seconds = base or scores, seconds or spent
            bleu = bleu_of(bleu_statistics(texts, against).sum(axis=0, keepdims=True)).reshape(-1)
            rows.append(
                {
                    "way": way,
                    "sets": len(numbers),
                    "kept": kept(mine),
                    "filler": f"{100 * statistics.mean(has_filler(text, IN_CAPTIONS) for text in texts):.1f} %",
                    "CIDEr": f"{statistics.mean(scores):.3f}",
                    "more than the first, paired": mean_score(
                        [score - other for score, other in zip(scores, base, strict=True)], numbers
                    ),
                    "BLEU-4": f"{float(bleu[3]):.3f}",
                    "ROUGE-L": f"{float(np.mean(rouge_l(texts, against).mean)):.3f}",
                    "distinct-2": f"{distinct_bigrams(texts):.3f}",
                    "nats a token": f"{statistics.mean(line['log_probs'][0] for line in mine):.3f}",
                    "seconds, of the first": f"{spent / seconds:.2f} x",
                }
            )
        return table_of(rows)


def penalized(text: GenerationResult, suffix_tokens: int, length_penalty: float) -> float:
    """A text's log-probability over its number of tokens to the power of the penalty."""
    return text.total_log_prob / (len(text.token_ids) + suffix_tokens) ** length_penalty


def distinct_bigrams(texts: Sequence[str]) -> float:
    """Different pairs of neighbouring words over all such pairs."""
    pairs = [pair for text in texts for pair in itertools.pairwise(text.lower().split())]
    return len(set(pairs)) / len(pairs)


if __name__ == "__main__":
    Search.main()
