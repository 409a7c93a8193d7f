"""A text read again, token by token: the probability that its constraint is satisfied, and who preferred what.

With the predictive a = p(z = h | tokens so far), automaton state d and the look-ahead B of the tokens that are left,

    p(constraint | so far) = sum_h a[h] B[d, h]  (and endings in progress)

which after token v is exp of v's log-ratio: p(constraint, v | so far) / p(v | so far) = p(constraint | so far, v).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctrlg.automata.paths import UNREACHABLE
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.generation.compiled import CompiledConstraint

MOST_PREFERRED = 5


class Preferred(NamedTuple):
    """A token that may come next.

    Attributes:
        token_id: its id.
        text: what it writes; half a character is shown as U+FFFD, end of text is "".
        probability: of the next token.
    """

    token_id: int
    text: str
    probability: float


class TraceStep(NamedTuple):
    """One token of a text.

    Attributes:
        written: the token, with the probability that language model and guide together gave it.
        part: where it stands; "end" is the end-of-text token.
        alone: probability that the language model alone gave it.
        satisfied: log-probability, in nats, that the constraint is satisfied in the tokens left, this token read; None
            without an HMM.
        preferred_alone: the likeliest tokens of the language model alone, best first.
        preferred_guided: the likeliest tokens with mask and guide, best first.
        state: state of the constraint's automaton after the token.
        tokens_needed: fewest tokens of content from there until the constraint is satisfied; None where it cannot be.
    """

    written: Preferred
    part: Literal["content", "suffix", "end"]
    alone: float
    satisfied: float | None
    preferred_alone: tuple[Preferred, ...]
    preferred_guided: tuple[Preferred, ...]
    state: int
    tokens_needed: int | None


class Trace(NamedTuple):
    """A text that was written under a constraint, token by token.

    Attributes:
        constraint: as it reads out.
        prefix: text before the first token.
        satisfied: log-probability, in nats, that the constraint is satisfied, before the first token; None without an
            HMM.
        steps: a step for each token of content, suffix and end of text.
        num_states: states of the constraint's automaton.
    """

    constraint: str
    prefix: str
    satisfied: float | None
    steps: tuple[TraceStep, ...]
    num_states: int


@torch.no_grad()
def traced(
    model: Any,
    processor: ConstraintLogitsProcessor,
    constraint: CompiledConstraint,
    content: Sequence[int],
    most: int = MOST_PREFERRED,
) -> Trace:
    """Read a content and the suffix after it once more.

    Args:
        model: the language model, in evaluation mode.
        processor: as for the search that wrote the content: one token range, and the prompt.
        constraint: what it was made of.
        content: token ids, T of them.
        most: tokens to name at each step.

    Returns:
        T steps for the content and those of the suffix and the end of text.
    """
    ids = [*content, *constraint.suffix_ids]
    text = torch.tensor([*processor.prompt_ids, *ids], dtype=torch.int64)
    scores = _scores(model, text, len(ids))
    has_hmm = processor.reader.start.predictive is not None
    ratios = processor.log_ratios(text[:-1]) if has_hmm else None
    guide, followed = processor.guide, processor.guide.followed
    names = _Names(constraint)
    steps, state = [], np.array([followed.initial])
    for place, token in enumerate(ids):
        read = text[None, : len(processor.prompt_ids) + place]
        guided = processor(read, scores[place : place + 1])[0]
        if place < len(content):
            state = followed.advance(state, np.array([token]))
        needed = int(guide.fewest(state)[0])
        own, joined = scores[place].float().softmax(dim=0), guided.float().exp()
        steps.append(
            TraceStep(
                names.of(token, joined),
                _part(place, len(content), len(ids)),
                float(own[token]),
                None if ratios is None else min(0.0, float(ratios[place, token])),
                names.best(own, most),
                names.best(joined, most),
                int(state[0]),
                None if needed >= UNREACHABLE else needed,
            )
        )
    start = processor.log_probability[0] if has_hmm else None
    return Trace(str(constraint.constraint), constraint.prefix, start, tuple(steps), constraint.dfa.num_states)


def _scores(model: Any, text: Tensor, count: int) -> Tensor:
    """What the language model says before each of the last `count` tokens, [count, W], on the CPU."""
    # One place more is asked for than is needed: the scores after the last token.
    few = {"logits_to_keep": count + 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    logits: Tensor = model(input_ids=text[None].to(model.device), **few).logits
    return logits[0, -(count + 1) : -1].cpu()


def _part(place: int, content: int, all_tokens: int) -> Literal["content", "suffix", "end"]:
    if place == all_tokens - 1:
        return "end"
    return "content" if place < content else "suffix"


class _Names:
    """Tokens with their texts."""

    def __init__(self, constraint: CompiledConstraint) -> None:
        self._token_bytes = constraint.vocabulary.token_bytes

    def of(self, token: int, probabilities: Tensor) -> Preferred:
        data = self._token_bytes[token] if token < len(self._token_bytes) else None
        return Preferred(token, (data or b"").decode("utf-8", errors="replace"), float(probabilities[token]))

    def best(self, probabilities: Tensor, most: int) -> tuple[Preferred, ...]:
        values, tokens = probabilities.topk(min(most, len(probabilities)))
        return tuple(
            self.of(token, probabilities)
            for token, value in zip(tokens.tolist(), values.tolist(), strict=True)
            if value > 0
        )


def curve(trace: Trace) -> np.ndarray | None:
    """Probability that the constraint is satisfied before the first token and after each, float64 [T + 1], or None."""
    if trace.satisfied is None:
        return None
    logs = [trace.satisfied, *(-math.inf if step.satisfied is None else step.satisfied for step in trace.steps)]
    return np.exp(logs)
