"""`generate`: from a promise, or several at once, to ranked texts in one call."""

from __future__ import annotations

import inspect
import operator
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from transformers import LogitsProcessorList

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
from ctrlg.constraints import Constraint
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.errors import ArgumentError
from ctrlg.generation.limits import require_context, require_memory
from ctrlg.generation.options import KEEP_SCORES, checked_options
from ctrlg.generation.path_scores import PathScores
from ctrlg.generation.plain_model import plain_model
from ctrlg.generation.prompts import Prompt, prompt_ids, prompts_of
from ctrlg.generation.ranking import ScoredIds, score_generated_ids
from ctrlg.generation.search import SearchSettings, search
from ctrlg.generation.tasks import Promise, Task, contents_of, task_of
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.look_ahead.tables import TABLE_BYTES

DEFAULT_BEAMS = 8
LEAST_TABLE_BYTES = 1 << 26  # that each of many promises side by side may keep; together they share TABLE_BYTES
LENGTH_PENALTY = 0.5
"""Half way between likelihood, which likes short texts best, and the mean over tokens, which likes long ones best."""


class Timing(NamedTuple):
    """Seconds a promise took, all its texts together; what several share (`generate_many`) in equal parts.

    preparation: automaton and look-ahead tables. symbolic: the logits processor's steps. neural: everything else of
    `model.generate`. steps: tokens written one after another.
    """

    preparation: float
    symbolic: float
    neural: float
    steps: int


@dataclass(frozen=True)
class GenerationResult:
    """One text that was written under a promise.

    text: prefix, content and suffix. token_ids: the content's tokens.
    log_prob: of content, suffix and end of text after the prompt, by the language model, in nats per token.
    total_log_prob: the same, summed.
    satisfied: the promise holds in the text, checked without its automaton (with it where only an automaton was given).
    timing: of the call that wrote it.
    """

    text: str
    token_ids: tuple[int, ...]
    log_prob: float
    total_log_prob: float
    satisfied: bool
    timing: Timing = field(compare=False)


@checked
def generate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    hmm: HiddenMarkovModel | None,
    constraint: Promise,
    prompt: Prompt | None = None,
    prefix: str = "",
    suffix: str = ".",
    min_new_tokens: Natural = 1,
    max_new_tokens: Natural = 32,
    num_beams: Positive | None = None,
    do_sample: bool = False,
    num_return_sequences: Positive = 1,
    seed: Seed | None = None,
    temperature: Temperature = 1.0,
    progress: bool | None = None,
    max_states: Positive = 20_000,
    eos_token_id: Natural | None = None,
    soft_mask: bool = False,
    strength: AboveZero | None = None,
    length_penalty: LengthPenalty = LENGTH_PENALTY,
    **options: Any,
) -> list[GenerationResult]:
    """Texts that keep a promise, best first by the language model's log-probability (see length_penalty).

    model, tokenizer: a causal language model of transformers and its tokenizer.
    hmm: HMM or QuantizedHMM distilled from the model; None for the mask alone.
    constraint: a Constraint about the whole text; or a DFA or an edge dictionary of Ctrl-G about the content's tokens.
    prompt: everything the language model reads first: text, token ids, or what a tokenizer or `apply_chat_template`
        returns; by default end of text and the prefix.
    prefix, suffix: text before and after the content, written exactly so. The HMM reads the prefix; end of text is
        added to the suffix.
    min_new_tokens, max_new_tokens: least and most tokens of the content.
    num_beams: beams of a search, all of which are ranked; 8 by default, 1 when sampling.
    do_sample: sample num_return_sequences texts instead of searching. seed: makes sampling repeatable.
    num_return_sequences: most texts to return; fewer come back where fewer different ones were found.
    temperature: of the joined scores, > 0.
    progress: show a progress bar; by default in terminals only.
    max_states: most states of the promise's automaton.
    eos_token_id: the token that ends a text; by default the HMM's, without an HMM the tokenizer's.
    soft_mask: the HMM alone steers, as in Ctrl-G; then texts come back that break the promise, `satisfied` says which.
    strength: how strongly the HMM pulls, > 0: its log-ratio is multiplied by it. 1 is Ctrl-G's; above it, what is
        promised comes earlier in the text. By default what suits the HMM (its attribute `strength`, 1 where it has
        none). Without an HMM it means nothing.
    length_penalty: of the search and of the order: log-probabilities are divided by the number of tokens to this power.
        0 is the likelihood of the text, 1 the mean over tokens, transformers' default, which prefers long texts: a
        search then fills them up with what is cheap (docs/results.md, "Better sentences").
    options: passed to `model.generate` (top_p, logits_processor, ...; `ctrlg.generation.options` lists
        them). The model's own generation_config is not used. A logits_processor sees the scores before the constraint
        does; texts that a stopping_criteria cuts off are not returned.

    The model is used in evaluation mode and is not changed. Characters are always whole.
    Raises UnsatisfiableError and BudgetError for promises that cannot be kept, VocabularyError where model, tokenizer
    and HMM do not fit together, ArgumentError for other arguments: among them more tokens than the language model has
    positions for, and more beams, samples or tokens than fit into the memory that is free.
    """
    (results,) = generate_many(
        model,
        tokenizer,
        hmm,
        [constraint],
        None if prompt is None else [prompt],
        prefix,
        suffix,
        min_new_tokens,
        max_new_tokens,
        num_beams,
        do_sample,
        num_return_sequences,
        seed,
        temperature,
        progress,
        max_states,
        eos_token_id,
        soft_mask,
        strength,
        length_penalty,
        **options,
    )
    return results


@checked
def generate_many(
    model: LanguageModel,
    tokenizer: Tokenizer,
    hmm: HiddenMarkovModel | None,
    constraints: Sequence[Promise],
    prompts: Sequence[Prompt] | Any | None = None,
    prefix: str = "",
    suffix: str = ".",
    min_new_tokens: Natural = 1,
    max_new_tokens: Natural = 32,
    num_beams: Positive | None = None,
    do_sample: bool = False,
    num_return_sequences: Positive = 1,
    seed: Seed | None = None,
    temperature: Temperature = 1.0,
    progress: bool | None = None,
    max_states: Positive = 20_000,
    eos_token_id: Natural | None = None,
    soft_mask: bool = False,
    strength: AboveZero | None = None,
    length_penalty: LengthPenalty = LENGTH_PENALTY,
    **options: Any,
) -> list[list[GenerationResult]]:
    """What `generate` returns for each of several promises, which are kept side by side in one search. That is faster
    than one after another (`benchmarks/promises_together.py` says by how much).

    constraints: a promise for each list of texts. prompts: one for each, of any lengths, or all as one batch. The other
    arguments are those of `generate`, the same for all; so are the errors. Prompts of different lengths are padded on
    the left, which the language model must understand. Sampling draws other texts than one promise after another would.
    """
    each = [None] * len(constraints) if prompts is None else prompts_of(prompts)
    if not constraints or len(each) != len(constraints):
        raise ArgumentError(
            f"{len(constraints)} promises, {len(each)} prompts",
            hint="at least one promise, and a prompt for each or none",
        )
    each = [prompt if prompt is None else prompt_ids(prompt, tokenizer) for prompt in each]
    beams = _checked_beams(num_beams, do_sample, num_return_sequences)
    _check_seed(seed)
    sampled = num_return_sequences * len(constraints) if do_sample else len(constraints)
    options = checked_options(options, inspect.signature(generate).parameters, sampled, beams)
    rows = max(beams, num_return_sequences)
    require_context(model, 1, max_new_tokens)
    require_memory(model, len(constraints), rows, max_new_tokens)
    started = time.perf_counter()
    model = plain_model(model)
    tasks = [
        task_of(model, tokenizer, hmm, constraint, prompt, prefix, suffix, max_states, eos_token_id)
        for constraint, prompt in zip(constraints, each, strict=True)
    ]
    width = max(len(task.prompt_ids) for task in tasks)
    steps = max_new_tokens + len(tasks[0].suffix_ids)
    require_context(model, width, steps)
    require_memory(model, len(tasks), rows, width + steps)
    end = tasks[0].vocabulary.eos_token_id
    promises = [
        ConstraintLogitsProcessor(
            hmm,
            task.dfa,
            min_new_tokens,
            max_new_tokens,
            [end] * (width - len(task.prompt_ids)) + task.prompt_ids,
            task.prefix_ids,
            task.suffix_ids,
            temperature,
            eos_token_id=end,
            table_bytes=max(TABLE_BYTES // len(tasks), LEAST_TABLE_BYTES),
            mask=None if soft_mask else task.mask,
            soft_mask=soft_mask,
            strength=getattr(hmm, "strength", 1.0) if strength is None else strength,
        )
        for task in tasks
    ]
    paths = [PathScores(width, end) for _ in tasks]
    settings = SearchSettings(
        steps=steps,
        beams=beams,
        do_sample=do_sample,
        returned=num_return_sequences if do_sample else beams,
        end=end,
        seed=seed,
        progress=progress,
        length_penalty=length_penalty,
        options=options,
    )
    prepared = time.perf_counter()
    pairs = [LogitsProcessorList(pair) for pair in zip(paths, promises, strict=True)]
    outputs = search(model, [task.prompt_ids for task in tasks], pairs, settings)
    neural = time.perf_counter() - prepared - sum(processor.seconds for processor in promises)
    results = []
    for task, written, path, processor in zip(tasks, outputs, paths, promises, strict=True):
        contents = contents_of(written, task, None if soft_mask else (min_new_tokens, max_new_tokens))
        scored = _scored(model, contents, task, path if KEEP_SCORES.issuperset(options) else None)
        best = _ordered(scored, task, length_penalty)[:num_return_sequences]
        timing = Timing((prepared - started) / len(tasks), processor.seconds, neural / len(tasks), written.shape[1])
        results.append([_result(task, content, timing) for content in best])
    return results


def _checked_beams(num_beams: int | None, do_sample: bool, num_return_sequences: int) -> int:
    beams = num_beams or (1 if do_sample else max(DEFAULT_BEAMS, num_return_sequences))
    if not do_sample and beams < num_return_sequences:
        raise ArgumentError(
            f"{num_return_sequences} texts from {beams} beams", hint="a search finds at most one text per beam"
        )
    return beams


def _check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= operator.index(seed) < 2**64:
        raise ArgumentError(f"seed is {seed}", hint="a seed is a whole number from 0 to 2**64 - 1")


def _result(task: Task, content: ScoredIds, timing: Timing) -> GenerationResult:
    text = task.text(content.token_ids)
    constraint = task.constraint
    kept = constraint.holds(text) if isinstance(constraint, Constraint) else task.dfa.accepts(content.token_ids)
    return GenerationResult(text, content.token_ids, content.log_prob, content.total, kept, timing)


def _ordered(scored: Sequence[ScoredIds], task: Task, length_penalty: float) -> list[ScoredIds]:
    """Best first by log-probability over the number of tokens, content and suffix, to the power of length_penalty."""

    def value(content: ScoredIds) -> float:
        return content.total / (len(content.token_ids) + len(task.suffix_ids)) ** length_penalty

    return sorted(scored, key=value, reverse=True)


def _scored(model: Any, contents: Sequence[tuple[int, ...]], task: Task, paths: PathScores | None) -> list[ScoredIds]:
    """The contents with the language model's scores: those the search has seen, or read again where it has not."""
    seen: dict[tuple[int, ...], ScoredIds] = {}
    for content in contents:
        total = None if paths is None else paths.total((*content, *task.suffix_ids[:-1]))
        if total is not None:
            seen[content] = ScoredIds(content, total / (len(content) + len(task.suffix_ids)), total)
    others = [content for content in contents if content not in seen]
    read = score_generated_ids(model, others, task.prompt_ids, task.suffix_ids) if others else []
    return [*seen.values(), *read]
