"""`generate` and `generate_many`: texts under constraints in one call; `Generator` does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ctrlg.arguments import (
    AboveZero,
    LanguageModel,
    LengthPenalty,
    Natural,
    Positive,
    Seed,
    Temperature,
    Tokenizer,
    checked,
)
from ctrlg.defaults import EXACT_STATES
from ctrlg.generation.compiled import ConstraintLike
from ctrlg.generation.generator import LENGTH_PENALTY, Generator
from ctrlg.generation.prompts import Prompt
from ctrlg.generation.results import GenerationResult
from ctrlg.look_ahead.model import HiddenMarkovModel


@checked
def generate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    hmm: HiddenMarkovModel | None,
    constraint: ConstraintLike,
    prompt: Prompt | None = None,
    prefix: str = "",
    suffix: str = "",
    min_new_tokens: Natural = 1,
    max_new_tokens: Natural = 32,
    num_beams: Positive | None = None,
    do_sample: bool = False,
    num_return_sequences: Positive = 1,
    seed: Seed | None = None,
    temperature: Temperature = 1.0,
    progress: bool | None = None,
    max_states: Positive = EXACT_STATES,
    eos_token_id: Natural | None = None,
    soft_mask: bool = False,
    strength: AboveZero | None = None,
    length_penalty: LengthPenalty = LENGTH_PENALTY,
    **options: Any,
) -> list[GenerationResult]:
    """Texts that keep a constraint, best first by the language model's log-probability (see length_penalty).

    The model is used in evaluation mode and is not changed. Characters are always whole. For several calls, a
    `Generator` keeps what it has prepared.

    Args:
        model: a causal language model of transformers.
        tokenizer: the model's tokenizer.
        hmm: HMM or QuantizedHMM distilled from the model; None for the mask alone.
        constraint: a Constraint about the whole text; or a DFA or an edge dictionary of Ctrl-G about the content's
            tokens.
        prompt: everything the language model reads first: text, token ids, or what a tokenizer or
            `apply_chat_template` returns; by default end of text and the prefix.
        prefix: text before the content, written exactly so. The HMM reads it.
        suffix: text after the content, written exactly so; end of text is added to it.
        min_new_tokens: least tokens of the content.
        max_new_tokens: most tokens of the content.
        num_beams: beams of a search, all of which are ranked; 8 by default, 1 when sampling.
        do_sample: sample num_return_sequences texts instead of searching.
        num_return_sequences: most texts to return; fewer come back where fewer different ones were found.
        seed: makes sampling repeatable.
        temperature: of the joined scores, > 0.
        progress: show a progress bar; by default in terminals only.
        max_states: most states of one automaton for the whole constraint; one that needs more is kept in parts, at a
            cost that grows with their sum. The look-ahead is then an estimate, what is allowed stays exact.
        eos_token_id: the token that ends a text; by default the HMM's, without an HMM the tokenizer's.
        soft_mask: the HMM alone steers, as in Ctrl-G; then texts come back that break the constraint, `satisfied` says
            which.
        strength: how strongly the HMM pulls, > 0: its log-ratio is multiplied by it. 1 is Ctrl-G's; above it, what must
            occur comes earlier in the text. By default what suits the HMM (its attribute `strength`, 1 where it has
            none). Without an HMM it means nothing.
        length_penalty: of the search and of the order: log-probabilities are divided by the number of tokens to this
            power. 0 is the likelihood of the text, 1 the mean over tokens, transformers' default, which prefers long
            texts: a search then fills them up with what is cheap (docs/results.md, "Better sentences").
        options: passed to `model.generate` (top_p, logits_processor, ...; `ctrlg.generation.options` lists them). The
            model's own generation_config is not used. A logits_processor sees the scores before the constraint does;
            texts that a stopping_criteria cuts off are not returned.

    Returns:
        At most num_return_sequences different texts.

    Raises:
        UnsatisfiableError, BudgetError: the constraint cannot be kept, or not in so many tokens.
        VocabularyError: model, tokenizer and HMM do not fit together.
        ArgumentError: other arguments; among them more tokens than the language model has positions for, and more
            beams, samples or tokens than fit into the memory that is free.
    """
    generator = Generator(model, tokenizer, hmm, max_states=max_states, eos_token_id=eos_token_id, kept=0)
    return generator(
        constraint,
        prompt,
        num_return_sequences,
        prefix=prefix,
        suffix=suffix,
        min_new_tokens=min_new_tokens,
        max_new_tokens=max_new_tokens,
        num_beams=num_beams,
        do_sample=do_sample,
        seed=seed,
        temperature=temperature,
        progress=progress,
        soft_mask=soft_mask,
        strength=strength,
        length_penalty=length_penalty,
        **options,
    )


@checked
def generate_many(
    model: LanguageModel,
    tokenizer: Tokenizer,
    hmm: HiddenMarkovModel | None,
    constraints: Sequence[ConstraintLike],
    prompts: Sequence[Prompt] | Any | None = None,
    *,
    num_return_sequences: Positive = 1,
    max_states: Positive = EXACT_STATES,
    eos_token_id: Natural | None = None,
    **settings: Any,
) -> list[list[GenerationResult]]:
    """What `generate` returns for each of several constraints, which are kept side by side in one search.

    That is faster than one after another (`benchmarks/constraints_together.py` says by how much). Prompts of different
    lengths are padded on the left, which the language model must understand. Sampling draws other texts than one
    constraint after another would.

    Args:
        model: as for `generate`, like tokenizer and hmm.
        tokenizer: the model's tokenizer.
        hmm: HMM or QuantizedHMM distilled from the model; None for the mask alone.
        constraints: one for each list of texts.
        prompts: one for each, of any lengths, or all as one batch.
        num_return_sequences: most texts to return for each.
        max_states: most states of one automaton for a whole constraint, as for `generate`.
        eos_token_id: as for `generate`.
        settings: the other arguments of `generate`, the same for all.

    Returns:
        A list of texts for each constraint.

    Raises:
        CtrlGError: as `generate`.
    """
    generator = Generator(model, tokenizer, hmm, max_states=max_states, eos_token_id=eos_token_id, kept=0)
    return generator.batch(constraints, prompts, num_return_sequences, **settings)
