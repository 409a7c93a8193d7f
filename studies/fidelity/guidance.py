"""How far a compressed HMM guides from where the float one would have guided.

Both see the same texts, which were written under a constraint with the float HMM, and the same language model. Before
every token of a text, the joined distribution is what the decoder uses,

    q(v) ~ p_LM(v | so far) exp(log p(constraint, v | so far) - log p(v | so far))

under the hard mask: where a guide leaves no token at all, the language model decides among those that the automaton
allows. Compared are the distributions, step by step, by KL(float || compressed) and by total variation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.automata.dfa import DFA
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation.concept_sets import ConceptSet
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.vocabulary.token_bytes import Vocabulary


@dataclass(frozen=True)
class GuidedText:
    """A text that keeps a constraint, and what does not depend on the HMM before each of its T tokens.

    dfa: over the content. suffix_ids: with the end-of-text token. token_ids: content and suffix, T of them.
    most: content tokens that were allowed. log_probs: of the language model, float32 [T, V]. allowed: what the
    automaton lets come next, bool [T, V].
    """

    dfa: DFA
    suffix_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    most: int
    log_probs: Tensor
    allowed: Tensor


class Guided(NamedTuple):
    """What the decoder would sample the next token from. log_probs: float64 [T, V]. silent: bool [T]; the guide gives
    every allowed token no chance at all, and the mask decided."""

    log_probs: Tensor
    silent: Tensor


class Divergences(NamedTuple):
    """Between the distributions of each step, float64 [T].

    kl: KL(reference || other) in nats; inf where the other forbids a token that the reference does not.
    variation: total variation distance, 0 to 1. forbidden: what the reference gives to tokens that the other forbids.
    """

    kl: Tensor
    variation: Tensor
    forbidden: Tensor


def frequent_keywords(sets: Iterable[ConceptSet], count: int) -> list[str]:
    """The `count` most frequent concepts that are single words, ties in alphabetical order.

    Raises ArgumentError for a count below 1, DataError where there are fewer.
    """
    if count < 1:
        raise ArgumentError(f"{count} keywords", hint="at least 1")
    counts = Counter(concept for each in sets for concept in each.concepts if concept.isalpha())
    if len(counts) < count:
        raise DataError(f"{count} keywords are asked for, the data has {len(counts)}", hint="ask for fewer")
    return sorted(counts, key=lambda word: (-counts[word], word))[:count]


@torch.no_grad()
def guided_text(
    model: Any, vocabulary: Vocabulary, dfa: DFA, content: Sequence[int], suffix_ids: Sequence[int], most: int
) -> GuidedText:
    """A content and its suffix, read by the language model once, after the end-of-text token.

    dfa: over V tokens. most: content tokens allowed when it was written. Raises DataError for a content that is longer
    or does not keep the constraint.
    """
    if not dfa.accepts(content) or not len(content) <= most:
        raise DataError(
            f"{vocabulary.decode(content)!r} of {len(content)} tokens is no content of the constraint",
            hint=f"at most {most} tokens that the automaton accepts",
        )
    eos = vocabulary.eos_token_id
    token_ids = (*content, *suffix_ids)
    logits = model(torch.tensor([[eos, *token_ids[:-1]]], device=model.device)).logits[0, :, : dfa.vocab_size]
    mask = ConstraintLogitsProcessor(None, dfa, 1, most, [eos], (), suffix_ids, eos_token_id=eos)
    allowed = torch.isfinite(mask.log_ratios(torch.tensor([eos, *token_ids[:-1]])))
    log_probs = logits.float().log_softmax(dim=1).cpu()
    return GuidedText(dfa, tuple(suffix_ids), token_ids, most, log_probs, allowed)


def guided(text: GuidedText, hmm: HiddenMarkovModel | None) -> Guided:
    """What the decoder samples each token of the text from with this HMM; None for the mask alone."""
    alone = text.log_probs.double().masked_fill(~text.allowed, -torch.inf)
    if hmm is None:
        return Guided(alone.log_softmax(dim=1), torch.zeros(len(alone), dtype=torch.bool))
    eos = text.suffix_ids[-1]
    processor = ConstraintLogitsProcessor(hmm, text.dfa, 1, text.most, [eos], (), text.suffix_ids)
    ratios = processor.log_ratios(torch.tensor([eos, *text.token_ids[:-1]])).cpu()
    joined = text.log_probs.double() + ratios
    silent = ~torch.isfinite(joined).any(dim=1)
    joined[silent] = alone[silent]
    return Guided(joined.log_softmax(dim=1), silent)


def divergences(reference: Tensor, other: Tensor) -> Divergences:
    """Of log-probabilities [T, V] from others [T, V], row by row, computed in float64."""
    reference, other = reference.double(), other.double()
    p, q = reference.exp(), other.exp()
    possible = torch.isfinite(reference)
    banned = possible & ~torch.isfinite(other)
    terms = torch.where(possible & ~banned, p * (reference - other), 0.0)
    # sums of terms that cancel may fall below 0 by rounding
    kl = terms.sum(dim=1).clamp(min=0).masked_fill(banned.any(dim=1), torch.inf)
    return Divergences(kl, (p - q).abs().sum(dim=1) / 2, (p * banned).sum(dim=1))
