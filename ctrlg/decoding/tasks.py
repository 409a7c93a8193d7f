"""What a promise comes down to before anything is written: prompt, prefix and suffix as ids, and an automaton."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ctrlg.automata.dfa import DFA
from ctrlg.automata.graph_conversion import HoldsDFA, as_dfa
from ctrlg.automata.vocabulary import Vocabulary
from ctrlg.constraints import Constraint
from ctrlg.decoding.model import HiddenMarkovModel
from ctrlg.decoding.ranking import extract_generated_ids
from ctrlg.errors import ArgumentError, VocabularyError

Promise = Constraint | DFA | HoldsDFA | Mapping[str, Any]
"""About a whole text; or about the content's tokens alone, as an automaton or an edge dictionary of Ctrl-G."""


class Task(NamedTuple):
    """What a promise comes down to: ids, and the automaton over contents."""

    constraint: Promise
    vocabulary: Vocabulary
    dfa: DFA
    prompt_ids: list[int]
    prefix_ids: list[int]
    suffix_ids: list[int]


def task_of(
    model: Any,
    tokenizer: Any,
    hmm: HiddenMarkovModel | None,
    constraint: Promise,
    prompt: str | Sequence[int] | None,
    prefix: str,
    suffix: str,
    max_states: int,
    eos_token_id: int | None,
) -> Task:
    """Arguments as for `ctrlg.generate`. Raises UnsatisfiableError, VocabularyError and ArgumentError as it does."""
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
    return Task(constraint, vocabulary, dfa, prompt_ids, prefix_ids, suffix_ids)


def _encoded(tokenizer: Any, text: str) -> list[int]:
    return [int(token) for token in tokenizer.encode(text, add_special_tokens=False)] if text else []


def contents_of(rows: Tensor, task: Task, token_range: tuple[int, int] | None) -> list[tuple[int, ...]]:
    """The different contents of rows that are content and whole suffix, in the range; of all rows where it is None.
    Rows that keep the promise but are not finished are left out."""
    if token_range is None:
        contents = extract_generated_ids(rows.tolist(), [], task.suffix_ids, task.vocabulary.eos_token_id)
        return list(dict.fromkeys(contents))
    least, most = token_range
    suffix = tuple(task.suffix_ids)
    found: dict[tuple[int, ...], None] = {}
    for row in rows.tolist():
        if suffix[-1] not in row:
            continue
        text = tuple(row[: row.index(suffix[-1]) + 1])
        content = text[: len(text) - len(suffix)]
        if text[len(content) :] == suffix and least <= len(content) <= most and task.dfa.accepts(content):
            found[content] = None
    return list(found)
