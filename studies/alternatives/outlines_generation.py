"""Sentences by the package outlines, which writes by regular expressions: what it needs for each, and what comes out.

Its logits processor knows an automaton's state by row and never learns that a beam search reorders rows. So texts are
sampled, whose rows stay where they are, and the language model ranks them.
"""

from __future__ import annotations

import copy
import importlib.util
import re
import time
from collections.abc import Sequence
from typing import Any

import torch

from ctrlg.errors import ArgumentError
from ctrlg.generation import score_generated_ids
from studies.alternatives.expressions import Attempt


def require_outlines() -> None:
    """Raise ArgumentError where outlines is not installed."""
    if importlib.util.find_spec("outlines") is None:
        raise ArgumentError("not installed: outlines", hint="pip install outlines, or leave this way of writing out")


class OutlinesWriter:
    """Writes one sentence a regular expression.

    model, tokenizer: of transformers. end_of_text_id: begins and ends texts. samples: >= 1, of which the one is kept
    that matches and that the language model ranks first. max_new_tokens: of a sample, its full stop and end included.
    beam_search: search with so many beams instead of sampling; then texts come that do not match.
    Raises as `require_outlines`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        end_of_text_id: int,
        samples: int = 16,
        max_new_tokens: int = 34,
        beam_search: bool = False,
    ) -> None:
        require_outlines()
        import outlines

        self.model, self.tokenizer, self.end_of_text_id = model, tokenizer, end_of_text_id
        plain = copy.deepcopy(tokenizer)
        plain.chat_template = None  # with one, outlines makes a user's message of every prompt
        self.outlines_model = outlines.from_transformers(model, plain)
        drawn = {"num_beams": samples} if beam_search else {"do_sample": True}
        self.options = {"max_new_tokens": max_new_tokens, "num_return_sequences": samples, **drawn}

    def write(self, pattern: str, seed: int) -> Attempt:
        """The best sentence for a regular expression."""
        import outlines

        started = time.perf_counter()
        generator: Any = outlines.Generator(self.outlines_model, outlines.regex(pattern))
        prepared = time.perf_counter()
        generator.logits_processor = clock = _Timed(generator.logits_processor)
        prompt = self.tokenizer.decode([self.end_of_text_id])
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            texts = generator(prompt, **self.options)
        best = self._best([texts] if isinstance(texts, str) else texts, pattern)
        ended = time.perf_counter()
        return Attempt(best, prepared - started, ended - prepared, clock.seconds, clock.steps)

    def _best(self, texts: Sequence[str], pattern: str) -> str:
        """A text that was not finished in time comes after all that match."""
        matching = [text for text in texts if re.fullmatch(pattern, text)]
        contents = [self.tokenizer.encode(text, add_special_tokens=False) for text in matching or texts]
        end = [self.end_of_text_id]
        scored = score_generated_ids(self.model, contents, end, end)
        return max(zip(matching or texts, scored, strict=True), key=lambda pair: pair[1].log_prob)[0]


class _Timed:
    """A logits processor of outlines, and how often and how long it worked."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.seconds = 0.0
        self.steps = 0

    def reset(self) -> None:
        self.processor.reset()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        try:
            return self.processor(input_ids, scores)
        finally:
            self.seconds += time.perf_counter() - started
            self.steps += 1
