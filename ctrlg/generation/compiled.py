"""What a constraint comes down to before anything is written: prefix and suffix as ids, and an automaton."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ctrlg.automata.dfa import DFA
from ctrlg.automata.graph_conversion import HoldsDFA, as_dfa
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.automata.utf8 import whole_characters
from ctrlg.constraints import Constraint
from ctrlg.constraints.base import Target
from ctrlg.constraints.compilation import exact_or_factored
from ctrlg.defaults import MAX_STATES
from ctrlg.errors import ArgumentError, VocabularyError
from ctrlg.generation.ranking import extract_generated_ids
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.parts import Factored
from ctrlg.parts.factored import MOST_NODES
from ctrlg.vocabulary.characters import SYMBOLS
from ctrlg.vocabulary.token_bytes import Vocabulary

ConstraintLike = Constraint | DFA | HoldsDFA | Mapping[str, Any]
"""About a whole text; or about the content's tokens alone, as an automaton or an edge dictionary of Ctrl-G."""


class Place(NamedTuple):
    """Where a content stands, and how long it may be.

    prefix, suffix: text before and after it. begins_text: nothing stands before the prefix: the language model reads
        it, or the content where it is empty, as the beginning of a text.
    token_range: least and most tokens of the content. soft_mask: see `ctrlg.generate`.
    """

    prefix: str
    suffix: str
    begins_text: bool
    token_range: tuple[int, int]
    soft_mask: bool


class CompiledConstraint(NamedTuple):
    """What a constraint comes down to between a prefix and a suffix: ids, and two automata over contents.

    dfa: what the constraint says. mask: what every content must be: whole characters.
    prefix_ids, suffix_ids: the suffix closes with the end-of-text token.
    prefix: the text that `text` begins with. drops_space: the text begins with the content, whose first space the
        tokenizer drops.
    """

    constraint: ConstraintLike
    vocabulary: Vocabulary
    dfa: DFA | Factored
    mask: DFA
    prefix_ids: list[int]
    suffix_ids: list[int]
    prefix: str
    drops_space: bool

    def text(self, content: Iterable[int]) -> str:
        """Prefix, content and suffix as the tokenizer decodes them; characters may be cut between tokens."""
        ids = [*content, *self.suffix_ids]
        written = self.vocabulary.join(ids).decode("utf-8", errors="replace")
        return self.prefix + written[self.drops_space and self.vocabulary.drops_space_of(ids[0]) :]

    def holds(self, content: Sequence[int]) -> bool:
        """Whether the finished text keeps the constraint; an automaton alone is asked about the content."""
        if isinstance(self.constraint, Constraint):
            return self.constraint.holds(self.text(content))
        return self.dfa.accepts(content)


def vocabulary_of(
    model: Any, tokenizer: Any, hmm: HiddenMarkovModel | None, eos_token_id: int | None = None
) -> Vocabulary:
    """The vocabulary that model, tokenizer and HMM share. Raises VocabularyError where they do not fit together."""
    width = logits_of(model)
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
    return vocabulary


def logits_of(model: Any) -> int:
    """How many tokens a language model scores."""
    return int(model.get_output_embeddings().weight.shape[0])


def prefix_ids_of(vocabulary: Vocabulary, prefix: str) -> list[int]:
    """The tokens of a prefix, which begins a text. Raises ArgumentError where the tokenizer cannot write it."""
    return _spelled(vocabulary, "prefix", prefix)


def suffix_ids_of(vocabulary: Vocabulary, suffix: str) -> list[int]:
    """The tokens of a suffix and of the end of text. Raises ArgumentError where the tokenizer cannot write it."""
    return [*_spelled(vocabulary, "suffix", suffix), vocabulary.eos_token_id]


def compiled(
    constraint: ConstraintLike,
    vocabulary: Vocabulary,
    place: Place,
    max_states: int,
    most_nodes: int = MOST_NODES,
) -> CompiledConstraint:
    """A constraint compiled for a place. Raises as `Constraint.compile`, and as `prefix_ids_of` and `suffix_ids_of`."""
    prefix, suffix = place.prefix, place.suffix
    prefix_ids, suffix_ids = prefix_ids_of(vocabulary, prefix), suffix_ids_of(vocabulary, suffix)
    drops_space = place.begins_text and not prefix and vocabulary.drops_first_space
    mask = whole_characters(vocabulary)
    if drops_space:
        mask = mask & _at_most_one_space(vocabulary)
    if isinstance(constraint, Constraint):
        target = Target(vocabulary, prefix, suffix, max(max_states, MAX_STATES))
        dfa = exact_or_factored(constraint, target, max_states, most_nodes)
    else:
        never = [token for token, data in enumerate(vocabulary.token_bytes) if data is None]
        dfa = as_dfa(constraint, len(vocabulary.token_bytes)).forbid(never)
    return CompiledConstraint(constraint, vocabulary, dfa, mask, prefix_ids, suffix_ids, prefix, drops_space)


def checked_prompt(ids: Sequence[int], width: int) -> list[int]:
    """The ids of a prompt. Raises ArgumentError for none, and for ids that the language model does not know."""
    if not ids or not all(0 <= token < width for token in ids):
        raise ArgumentError(
            f"the prompt is no list of tokens below {width}: {list(ids[:8])}",
            hint="a prompt has at least one token; leave it out to begin after the end-of-text token",
        )
    return list(ids)


def _spelled(vocabulary: Vocabulary, name: str, text: str) -> list[int]:
    """Tokens for a prefix, which begins a text, or a suffix, which does not."""
    try:
        text.encode()
        ids = vocabulary.spell_beginning(text) if name == "prefix" else vocabulary.spell([text])[0]
    except UnicodeEncodeError as error:
        raise ArgumentError(
            f"the {name} holds {text[error.start]!r}, which is half a character", hint="pass text that UTF-8 can encode"
        ) from None
    if ids is None:
        missing = [character for character in dict.fromkeys(text) if vocabulary.spell([character])[0] is None]
        raise ArgumentError(
            f"the tokenizer cannot write the {name} {text!r}",
            hint=f"leave out {', '.join(map(repr, missing)) or 'a part of it'}: no tokens decode to exactly that",
        )
    return list(ids)


def _at_most_one_space(vocabulary: Vocabulary) -> DFA:
    """Contents that do not begin with two spaces. Behind the one that the tokenizer drops there is none then, so the
    text keeps a constraint just when the content with its space does."""
    class_of = np.zeros(SYMBOLS, dtype=np.uint8)
    class_of[ord(" ")] = 1
    start, spaced, free, broken = range(4)
    delta = np.array([[free, spaced], [free, broken], [free, free], [broken, broken]], dtype=np.int32)
    return lift(TextDFA(class_of, delta, start, np.array([True, True, True, False])), vocabulary)


def contents_of(
    rows: Tensor, constraint: CompiledConstraint, token_range: tuple[int, int] | None
) -> list[tuple[int, ...]]:
    """The different contents of rows that are content and whole suffix, in the range; of all rows where it is None.
    Rows that keep the constraint but are not finished are left out."""
    if token_range is None:
        contents = extract_generated_ids(rows.tolist(), [], constraint.suffix_ids, constraint.vocabulary.eos_token_id)
        return list(dict.fromkeys(contents))
    least, most = token_range
    suffix = tuple(constraint.suffix_ids)
    found: dict[tuple[int, ...], None] = {}
    for row in rows.tolist():
        if suffix[-1] not in row:
            continue
        text = tuple(row[: row.index(suffix[-1]) + 1])
        content = text[: len(text) - len(suffix)]
        within = text[len(content) :] == suffix and least <= len(content) <= most
        if within and constraint.dfa.accepts(content) and constraint.mask.accepts(content):
            found[content] = None
    return list(found)
