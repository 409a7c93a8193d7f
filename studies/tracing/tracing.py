"""The two halves of a step of constrained generation, timed apart and profiled: language model and logits processor.

Symbolic is what happens in the logits processor, neural everything else of `model.generate`: the language model and the
search. The constraint, and the HMM, are synthetic (`ctrlg.evaluation.synthetic`): what they cost does not depend on
what they mean. Times come from runs without the profiler, which slows a step down; only shares of operators come from
it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.devices import wait_for
from ctrlg.errors import ArgumentError, VocabularyError
from ctrlg.evaluation.synthetic import SyntheticHMM, keywords_and_words
from studies.tracing.operators import Trace, operator_shares, traced

KEYWORDS, WORDS = 3, 11  # of the constraint: 8 * 12 + 1 automaton states
SUFFIX_TOKEN = 7
WARM_UP_STEPS = 3  # the language model reads the prompt and beams are still alike: not counted
PROFILED_STEPS = 4


class StepTimes(NamedTuple):
    """Steps of some runs, milliseconds: medians, and the quartiles around them.

    share: of the symbolic half in a step, median over steps, in [0, 1]. steps: how many were counted.
    operators: shares of each half's own time, {"neural": {name: share}, "symbolic": {...}}; each half's sum to 1.
    """

    neural: float
    symbolic: float
    neural_quartiles: tuple[float, float]
    symbolic_quartiles: tuple[float, float]
    share: float
    steps: int
    operators: dict[str, dict[str, float]]


class TracedGeneration:
    """A language model, an HMM and a constraint of exactly `tokens` tokens, ready to write.

    tokens: of a text, more than WARM_UP_STEPS + PROFILED_STEPS. preparation: seconds that look-ahead tables took.
    Raises ArgumentError for fewer tokens, VocabularyError where the language model knows fewer tokens than the HMM.
    """

    def __init__(self, model: Any, hmm: SyntheticHMM, tokens: int, seed: int = 0) -> None:
        check_tokens(tokens)
        width = int(model.get_output_embeddings().weight.shape[0])
        if width < hmm.vocab_size:
            raise VocabularyError(
                f"the language model has {width} tokens, the HMM {hmm.vocab_size}", hint="make an HMM of fewer tokens"
            )
        self._model, self._eos, self._tokens = model, hmm.eos_token_id, tokens
        constraint = keywords_and_words(hmm.vocab_size, KEYWORDS, WORDS, seed)
        started = time.perf_counter()
        self._processor = ConstraintLogitsProcessor(
            traced(hmm), constraint, tokens, tokens, [self._eos], [], [SUFFIX_TOKEN, self._eos]
        )
        self._synchronize()
        self.preparation = time.perf_counter() - started

    def measure(self, beams: int, repeats: int = 3) -> StepTimes:
        """Write `repeats` texts by a search with so many beams, and one more under the profiler.

        Raises ArgumentError for numbers below 1.
        """
        for name, value in (("beams", beams), ("repeats", repeats)):
            if value < 1:
                raise ArgumentError(f"{name} is {value}", hint="choose 1 or more")
        self._run(beams, None)  # compiles kernels and fills caches
        pairs = [pair for _ in range(repeats) for pair in self._run(beams, None)]
        neural, symbolic = (sorted(1e3 * seconds for seconds in column) for column in zip(*pairs, strict=True))
        trace = Trace(self._synchronize, str(self._model.device.type))
        self._run(beams, trace)
        return StepTimes(
            neural=statistics.median(neural),
            symbolic=statistics.median(symbolic),
            neural_quartiles=_quartiles(neural),
            symbolic_quartiles=_quartiles(symbolic),
            share=statistics.median(own / (own + other) for other, own in pairs),
            steps=len(pairs),
            operators=operator_shares(trace),
        )

    @torch.no_grad()
    def _run(self, beams: int, trace: Trace | None) -> list[tuple[float, float]]:
        """(neural, symbolic) seconds of each step that counts."""
        watch = _Watch(self._processor, self._synchronize, trace)
        prompt = torch.tensor([[self._eos]], device=self._model.device)
        self._model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=GenerationConfig(
                max_new_tokens=self._tokens + 2,
                num_beams=beams,
                do_sample=False,
                eos_token_id=self._eos,
                pad_token_id=self._eos,
            ),
            logits_processor=LogitsProcessorList([watch]),
        )
        # Of the steps that write the suffix, the search has no choice: they do not count either.
        return watch.times[WARM_UP_STEPS : self._tokens]

    def _synchronize(self) -> None:
        wait_for(self._model.device)


def check_tokens(tokens: int) -> None:
    """Raise ArgumentError for texts too short to have steps that count."""
    least = WARM_UP_STEPS + PROFILED_STEPS + 1
    if tokens < least:
        raise ArgumentError(f"tokens is {tokens}", hint=f"choose {least} or more: the first {WARM_UP_STEPS} warm up")


class _Watch(LogitsProcessor):
    """Calls a processor and notes when; `times`: seconds before each call since the last one's end, and in it."""

    def __init__(
        self, processor: ConstraintLogitsProcessor, synchronize: Callable[[], None], trace: Trace | None
    ) -> None:
        self._processor, self._synchronize, self._trace = processor, synchronize, trace
        self.times: list[tuple[float, float]] = []
        self._ended = time.perf_counter()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # type: ignore[override]
        self._synchronize()
        started = time.perf_counter()
        neural = started - self._ended
        if self._trace is None:
            result = self._processor(input_ids, scores)
        else:
            step = len(self.times) - WARM_UP_STEPS
            if step == 0:
                self._trace.start()
            elif step == PROFILED_STEPS:
                self._trace.stop()
            with self._trace.symbolic():
                result = self._processor(input_ids, scores)
        self._synchronize()
        self._ended = time.perf_counter()
        self.times.append((neural, self._ended - started))
        return result


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, upper
