"""The sentences of a concept set, as all studies write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ctrlg.constraints.base import Constraint
from ctrlg.defaults import TOKENS
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.benchmark_settings import BEAMS, LEAST_WORDS, MOST_WORDS, TOGETHER
from ctrlg.evaluation.concept_sets import ConceptSet
from ctrlg.generation import GenerationResult, generate_many
from ctrlg.generation.compiled import ConstraintLike

Words = tuple[int, int | None]
"""Least and most words of a sentence; None sets no upper limit."""

NORM_Q_LENGTH_PENALTY = 1.0
"""Of the search and the order of its sentences in all studies, as in Norm-Q's benchmark; not `generate`'s default."""


class Sentence(NamedTuple):
    """What was written for one concept set.

    Attributes:
        concept_set: that it was written for.
        constraint: that it satisfies.
        ranked: the different texts that a search for the constraint found, at least one, best first by the language
            model.
    """

    concept_set: ConceptSet
    constraint: Constraint
    ranked: Sequence[GenerationResult]

    @property
    def best(self) -> GenerationResult:
        """The text that the language model ranks first."""
        return self.ranked[0]

    @property
    def record(self) -> dict[str, Any]:
        """A line of a results file (`ctrlg.evaluation.results`).

        Returns:
            The concept set; "sentences", all ranked texts; and of the first of them "kept", whether the constraint
            holds on its text, and "log_prob", nats per token of the language model that wrote it.
        """
        return {
            "concept_set_idx": self.concept_set.number,
            "concepts": self.concept_set.concepts,
            "sentences": list(dict.fromkeys(result.text.strip() for result in self.ranked)),
            "kept": self.constraint.holds(self.best.text),
            "log_prob": self.best.log_prob,
        }


def write_sentences(
    model: Any,
    tokenizer: Any,
    hmm: Any,
    concept_sets: Sequence[ConceptSet],
    beams: int = BEAMS,
    max_new_tokens: int = TOKENS,
    soft_mask: bool = False,
    words: Words = (LEAST_WORDS, MOST_WORDS),
    together: int = TOGETHER,
    there: Callable[[ConceptSet], bool] = lambda concept_set: False,
    compiled: Callable[[ConceptSet], ConstraintLike] | None = None,
) -> Iterator[Sentence]:
    """The ranked sentences of every concept set that is not there yet.

    Args:
        model: a causal language model of transformers.
        tokenizer: the model's tokenizer.
        hmm: what guides; None for the mask alone.
        concept_sets: to write, in this order.
        beams: of the search, all of which are ranked.
        max_new_tokens: most tokens of a sentence.
        soft_mask: as for `ctrlg.generate`.
        words: least and most of a sentence.
        together: constraints of a search, >= 1; always the same ones, so that what is written in bfloat16, which rounds
            otherwise in a batch of another size, does not depend on what was there.
        there: whether a concept set is written already.
        compiled: an automaton that says the same as the constraint, for whom writes a concept set many times.

    Raises:
        ArgumentError: a `together` below 1, and as `ctrlg.generate_many`.
    """
    if together < 1:
        raise ArgumentError(f"{together} constraints together", hint="at least 1")
    for first in range(0, len(concept_sets), together):
        group = concept_sets[first : first + together]
        left = [concept_set for concept_set in group if not there(concept_set)]
        if not left:
            continue
        constraints = [concept_set.constraint(*words) for concept_set in group]
        results = generate_many(
            model,
            tokenizer,
            hmm,
            constraints if compiled is None else [compiled(concept_set) for concept_set in group],
            suffix=".",
            max_new_tokens=max_new_tokens,
            num_beams=beams,
            num_return_sequences=beams,
            progress=False,
            soft_mask=soft_mask,
            length_penalty=NORM_Q_LENGTH_PENALTY,
        )
        for concept_set, constraint, ranked in zip(group, constraints, results, strict=True):
            if concept_set in left:
                yield Sentence(concept_set, constraint, ranked)
