"""One sentence a promise, as all studies write it."""

from __future__ import annotations

from typing import Any

from ctrlg.constraints.base import Constraint
from ctrlg.decoding import GenerationResult, generate
from ctrlg.evaluation.concept_sets import ConceptSet

LEAST_WORDS, MOST_WORDS = 6, 16
"""Words of a sentence that a concept set is written into."""


def best_sentence(
    model: Any,
    tokenizer: Any,
    hmm: Any,
    promise: Constraint,
    beams: int = 16,
    max_new_tokens: int = 32,
    soft_mask: bool = False,
) -> GenerationResult:
    """What beam search returns, ranked by the language model: the first. hmm: None for the mask alone. soft_mask: as
    for `ctrlg.generate`."""
    results = generate(
        model,
        tokenizer,
        hmm,
        promise,
        max_new_tokens=max_new_tokens,
        num_beams=beams,
        num_return_sequences=beams,
        progress=False,
        soft_mask=soft_mask,
    )
    return results[0]


def record_of(concept_set: ConceptSet, promise: Constraint, written: GenerationResult) -> dict[str, Any]:
    """A line of a results file (`ctrlg.evaluation.results`). kept: whether the promise holds on its text. log_prob:
    nats per token, of the language model that wrote it."""
    return {
        "concept_set_idx": concept_set.number,
        "concepts": concept_set.concepts,
        "sentences": [written.text],
        "kept": promise.holds(written.text),
        "log_prob": written.log_prob,
    }
