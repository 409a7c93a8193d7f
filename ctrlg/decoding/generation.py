"""`generate`: from a promise to ranked texts in one call."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from ctrlg.automata.dfa import DFA
from ctrlg.automata.graphs import as_dfa
from ctrlg.automata.vocabulary import Vocabulary
from ctrlg.constraints import Constraint
from ctrlg.decoding.model import HiddenMarkovModel
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.decoding.ranking import extract_generated_ids, score_generated_ids
from ctrlg.errors import ArgumentError, VocabularyError

DEFAULT_BEAMS = 8


class Timing(NamedTuple):
    """Seconds a call of generate took, all its texts together.

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


class _Task(NamedTuple):
    """What a call of generate comes down to: ids, and the automaton over contents."""

    vocabulary: Vocabulary
    dfa: DFA
    prompt_ids: list[int]
    prefix_ids: list[int]
    suffix_ids: list[int]


def generate(
    model: Any,
    tokenizer: Any,
    hmm: HiddenMarkovModel | None,
    constraint: Constraint | DFA | Mapping[str, Any],
    prompt: str | Sequence[int] | None = None,
    prefix: str = "",
    suffix: str = ".",
    min_new_tokens: int = 1,
    max_new_tokens: int = 32,
    num_beams: int | None = None,
    do_sample: bool = False,
    num_return_sequences: int = 1,
    seed: int | None = None,
    temperature: float = 1.0,
    progress: bool | None = None,
    max_states: int = 20_000,
    eos_token_id: int | None = None,
    soft_mask: bool = False,
    **options: Any,
) -> list[GenerationResult]:
    """Texts that keep a promise, best first by the language model's log-probability per token.

    model, tokenizer: a causal language model of transformers and its tokenizer.
    hmm: HMM or QuantizedHMM distilled from the model; None for the mask alone.
    constraint: a Constraint about the whole text; or a DFA or an edge dictionary of Ctrl-G about the content's tokens.
    prompt: everything the language model reads first, text or token ids; by default end of text and the prefix.
    prefix, suffix: text before and after the content. The HMM reads the prefix; end of text is added to the suffix.
    min_new_tokens, max_new_tokens: least and most tokens of the content.
    num_beams: beams of a search, all of which are ranked; 8 by default, 1 when sampling.
    do_sample: sample num_return_sequences texts instead of searching. seed: makes sampling repeatable.
    num_return_sequences: most texts to return; fewer come back where fewer different ones were found.
    temperature: of the joined scores, > 0.
    progress: show a progress bar; by default in terminals only.
    max_states: most states of the promise's automaton.
    eos_token_id: the token that ends a text; by default the HMM's, without an HMM the tokenizer's.
    soft_mask: the HMM alone steers, as in Ctrl-G; then texts come back that break the promise, `satisfied` says which.
    options: passed to `model.generate` (length_penalty, top_p, ...).

    Raises UnsatisfiableError and BudgetError for promises that cannot be kept, VocabularyError where model, tokenizer
    and HMM do not fit together, ArgumentError for other arguments.
    """
    if num_return_sequences < 1:
        raise ArgumentError(f"num_return_sequences is {num_return_sequences}", hint="ask for at least one text")
    if num_beams is not None and num_beams < 1:
        raise ArgumentError(f"num_beams is {num_beams}", hint="search with at least one beam")
    beams = num_beams or (1 if do_sample else max(DEFAULT_BEAMS, num_return_sequences))
    if not do_sample and beams < num_return_sequences:
        raise ArgumentError(
            f"{num_return_sequences} texts from {beams} beams", hint="a search finds at most one text per beam"
        )
    started = time.perf_counter()
    task = _task(model, tokenizer, hmm, constraint, prompt, prefix, suffix, max_states, eos_token_id)
    processor = ConstraintLogitsProcessor(
        hmm,
        task.dfa,
        min_new_tokens,
        max_new_tokens,
        task.prompt_ids,
        task.prefix_ids,
        task.suffix_ids,
        temperature,
        eos_token_id=task.vocabulary.eos_token_id,
        soft_mask=soft_mask,
    )
    steps = max_new_tokens + len(task.suffix_ids)
    config = _generation_config(task, steps, beams, do_sample, num_return_sequences if do_sample else beams, options)
    input_ids = torch.tensor([task.prompt_ids], device=model.device)
    prepared = time.perf_counter()
    with _seeded(seed, model.device), _progress_bar(progress, steps) as criteria:
        outputs = model.generate(
            input_ids,
            attention_mask=torch.ones_like(input_ids),
            generation_config=config,
            logits_processor=LogitsProcessorList([processor]),
            stopping_criteria=criteria,
        )
    elapsed = time.perf_counter() - prepared
    timing = Timing(
        preparation=prepared - started,
        symbolic=processor.seconds,
        neural=elapsed - processor.seconds,
        steps=outputs.shape[1] - len(task.prompt_ids),
    )
    if soft_mask:
        rows = extract_generated_ids(outputs.tolist(), task.prompt_ids, task.suffix_ids, task.vocabulary.eos_token_id)
        contents = list(dict.fromkeys(rows))
    else:
        contents = _whole_contents(outputs, task, min_new_tokens, max_new_tokens)
    scored = score_generated_ids(model, contents, task.prompt_ids, task.suffix_ids)
    results = []
    for content in sorted(scored, key=lambda content: -content.log_prob)[:num_return_sequences]:
        text = prefix + task.vocabulary.decode(content.token_ids) + suffix
        kept = constraint.holds(text) if isinstance(constraint, Constraint) else task.dfa.accepts(content.token_ids)
        results.append(GenerationResult(text, content.token_ids, content.log_prob, content.total, kept, timing))
    return results


def _task(
    model: Any,
    tokenizer: Any,
    hmm: HiddenMarkovModel | None,
    constraint: Constraint | DFA | Mapping[str, Any],
    prompt: str | Sequence[int] | None,
    prefix: str,
    suffix: str,
    max_states: int,
    eos_token_id: int | None,
) -> _Task:
    width = int(model.get_output_embeddings().weight.shape[0])
    vocab_size = width if hmm is None else hmm.vocab_size
    if width < vocab_size:
        raise VocabularyError(
            f"the language model has {width} tokens, the HMM {vocab_size}",
            hint="use the HMM that was distilled from this language model",
        )
    if eos_token_id is None and hmm is not None:
        eos_token_id = hmm.eos_token_id
    vocabulary = Vocabulary.of(tokenizer, vocab_size, eos_token_id)
    fingerprint = getattr(hmm, "fingerprint", None)
    if fingerprint is not None and fingerprint != vocabulary.fingerprint:
        raise VocabularyError(
            f"the HMM knows vocabulary {fingerprint[:12]}, the tokenizer has {vocabulary.fingerprint[:12]}",
            hint="use the tokenizer of the language model that the HMM was distilled from",
        )
    if isinstance(constraint, Constraint):
        dfa = constraint.compile(vocabulary, prefix=prefix, suffix=suffix, max_states=max_states)
    else:
        never = [token for token, data in enumerate(vocabulary.token_bytes) if data is None]
        dfa = as_dfa(constraint, vocab_size).forbid(never)
    prefix_ids = _encoded(tokenizer, prefix)
    if prompt is None:
        prompt_ids = [vocabulary.eos_token_id, *prefix_ids]
    elif isinstance(prompt, str):
        prompt_ids = [int(token) for token in tokenizer.encode(prompt)]
    else:
        prompt_ids = [int(token) for token in prompt]
    if not prompt_ids or not all(0 <= token < width for token in prompt_ids):
        raise ArgumentError(
            f"the prompt is no list of tokens below {width}: {prompt_ids[:8]}",
            hint="a prompt has at least one token; leave it out to begin after the end-of-text token",
        )
    suffix_ids = [*_encoded(tokenizer, suffix), vocabulary.eos_token_id]
    return _Task(vocabulary, dfa, prompt_ids, prefix_ids, suffix_ids)


def _encoded(tokenizer: Any, text: str) -> list[int]:
    return [int(token) for token in tokenizer.encode(text, add_special_tokens=False)] if text else []


def _generation_config(
    task: _Task, steps: int, beams: int, do_sample: bool, returned: int, options: dict[str, Any]
) -> GenerationConfig:
    """Plain search or sampling from the joined scores: nothing a model's own defaults might add, but `options`."""
    plain: dict[str, Any] = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
    if do_sample:
        plain |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    return GenerationConfig(
        max_new_tokens=steps,
        num_beams=beams,
        do_sample=do_sample,
        num_return_sequences=returned,
        eos_token_id=task.vocabulary.eos_token_id,
        pad_token_id=task.vocabulary.eos_token_id,
        **(plain | options),
    )


def _whole_contents(outputs: Tensor, task: _Task, least: int, most: int) -> list[tuple[int, ...]]:
    """The different contents of rows that are content and whole suffix; unfinished rows are left out."""
    suffix = tuple(task.suffix_ids)
    found: dict[tuple[int, ...], None] = {}
    for row in outputs[:, len(task.prompt_ids) :].tolist():
        if suffix[-1] not in row:
            continue
        text = tuple(row[: row.index(suffix[-1]) + 1])
        content = text[: len(text) - len(suffix)]
        if text[len(content) :] == suffix and least <= len(content) <= most and task.dfa.accepts(content):
            found[content] = None
    return list(found)


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Random numbers from `seed` on inside, and as before afterwards."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _progress_bar(progress: bool | None, steps: int) -> Iterator[StoppingCriteriaList]:
    """A stopping criterion that never stops and advances a bar, or none."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield StoppingCriteriaList()
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=console.is_terminal) as bar:
        task = bar.add_task("writing", total=steps)
        yield StoppingCriteriaList([_Ticker(lambda: bar.advance(task))])


class _Ticker(StoppingCriteria):
    """Calls a function at every step and never stops."""

    def __init__(self, tick: Any) -> None:
        self._tick = tick

    def __call__(self, input_ids: Tensor, scores: Any, **options: Any) -> Tensor:  # type: ignore[override]
        self._tick()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
