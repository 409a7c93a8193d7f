"""What the page does with the models: prepare, suggest, trace; results as plain values for the browser."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Any

from ctrlg.constraints import Constraint
from ctrlg.defaults import BEAMS
from ctrlg.generation import GenerationResult, Generator, Preferred, Trace
from ctrlg.page.asking import Asked, Refused, fitted
from ctrlg.page.jobs import Job
from ctrlg.vocabulary.token_bytes import Vocabulary

_REMEMBERED = 16  # requests


class Writer:
    """Writes with one language model, one HMM or none. vocabulary: of both."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        width = int(generator.model.get_output_embeddings().weight.shape[0])
        size = width if generator.hmm is None else generator.hmm.vocab_size
        self.vocabulary = Vocabulary.of(generator.tokenizer, size, generator.eos_token_id)
        self._fit = lru_cache(_REMEMBERED)(self._fitted)

    def fit(self, request: Asked) -> Asked:
        """The request with tokens enough, as `fitted`; what was asked for last is remembered. Raises Refused."""
        parts = tuple(request.parts.items())
        tokens = self._fit(request.prefix, request.suffix, parts, request.spacing, request.max_new_tokens)
        return request._replace(max_new_tokens=tokens)

    def _fitted(
        self,
        prefix: str,
        suffix: str,
        parts: tuple[tuple[str, Constraint], ...],
        spacing: Constraint | None,
        tokens: int,
    ) -> int:
        return fitted(Asked(prefix, suffix, dict(parts), spacing, 1, tokens, {}), self.vocabulary).max_new_tokens

    def warm_up(self) -> None:
        """Write a word, so that kernels are compiled and loaded before the first visitor asks."""
        from ctrlg.constraints import WordCount

        self.generator(WordCount(1, 2), suffix=".", max_new_tokens=4, num_beams=BEAMS, progress=False)

    def prepare(self, request: Asked) -> None:
        """Make the tables of a request that `fitted` has seen."""
        self.generator.prepare(request.constraint, **place_of(request))

    def suggest(self, request: Asked, job: Job) -> list[GenerationResult]:
        """Texts for a request, best first. Raises Stopped as the job, and Refused."""
        request = self.fit(request)
        job.check()
        self.prepare(request)
        return write(self.generator, request, job)


def place_of(request: Asked) -> dict[str, Any]:
    """The settings of a call that say where the content stands and how long it may be."""
    return {"prefix": request.prefix, "suffix": request.suffix, "max_new_tokens": request.max_new_tokens}


def write(generator: Generator, request: Asked, job: Job) -> list[GenerationResult]:
    """One search, watched by the job."""
    suffix_tokens = len(generator.tokenizer.encode(request.suffix, add_special_tokens=False)) + 1
    job.expect(request.max_new_tokens + suffix_tokens)
    results = generator(
        request.constraint, n=request.number, progress=False, stopping_criteria=[job.watch], **place_of(request)
    )
    if not results:
        raise Refused({"whole": "The search found no text. Allow more words, or ask for fewer."})
    return results


def suggestion(result: GenerationResult, request: Asked) -> dict[str, Any]:
    """A result for the browser: the text in pieces, of which those that keep a constraint are marked."""
    start, end = len(request.prefix), len(result.text) - len(request.suffix)
    spans = kept(request.parts.values(), result.text)
    cuts = sorted({0, start, end, len(result.text), *(cut for span in spans for cut in span)})
    pieces = [
        {
            "text": result.text[first:last],
            "kept": any(begin <= first and last <= stop for begin, stop in spans),
            "new": start <= first and last <= end,
        }
        for first, last in pairwise(cuts)
    ]
    return {
        "content": result.text[start:end],
        "inserted": result.text[:end],
        "pieces": pieces,
        "satisfied": result.satisfied,
        "nats": result.log_prob,
    }


def kept(constraints: Iterable[Constraint], text: str) -> list[tuple[int, int]]:
    """Where a text keeps those constraints that can say it."""
    parts = [piece for constraint in constraints for piece in constraint.parts()]
    return [span for part in parts if hasattr(part, "kept_spans") for span in part.kept_spans(text)]  # type: ignore[attr-defined]


def trace_values(trace: Trace) -> dict[str, Any]:
    """A trace for the browser; probabilities, not logarithms."""
    return {
        "constraint": trace.constraint,
        "states": trace.num_states,
        "start": None if trace.satisfied is None else math.exp(trace.satisfied),
        "steps": [
            {
                "text": step.written.text,
                "part": step.part,
                "alone": step.alone,
                "guided": step.written.probability,
                "satisfied": None if step.satisfied is None else math.exp(step.satisfied),
                "state": step.state,
                "needed": step.tokens_needed,
                "preferred": {
                    "alone": list(map(_token, step.preferred_alone)),
                    "guided": list(map(_token, step.preferred_guided)),
                },
                "id": step.written.token_id,
            }
            for step in trace.steps
        ],
    }


def _token(token: Preferred) -> dict[str, Any]:
    return {"id": token.token_id, "text": token.text, "probability": token.probability}
