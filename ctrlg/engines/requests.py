"""What a request asks of an engine, and the cursors for it: one room of prepared constraints for all requests."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ctrlg.arguments import AboveZero, Natural, Positive, Tokenizer, checked, refused
from ctrlg.constraints import Constraint
from ctrlg.decoding.cursors import Cursor, CursorBatch
from ctrlg.defaults import EXACT_STATES
from ctrlg.errors import ArgumentError, VocabularyError
from ctrlg.generation.compiled import Place
from ctrlg.generation.prepared import PreparedConstraints
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.vocabulary import Vocabulary

KEPT = 256
"""Constraints that stay prepared, as far as their tables fit into 1 GiB together."""

ROOM_FOR_SUFFIX = "the engine's own limit of tokens needs room for the suffix and the end of text as well"


@checked
@dataclass(frozen=True)
class Request:
    """What a request asks for, beside its prompt.

    Args:
        constraint: about the whole text of prefix, content and suffix.
        prefix: text at the end of the prompt that the constraint is about as well.
        suffix: text after the content, written exactly so; end of text is added to it.
        min_new_tokens: least tokens of the content.
        max_new_tokens: most tokens of the content; the engine's own limit needs room for the suffix and the end of text
            as well.
    """

    constraint: Constraint
    prefix: str = ""
    suffix: str = ""
    min_new_tokens: Natural = 1
    max_new_tokens: Positive = 64

    def __post_init__(self) -> None:
        if self.min_new_tokens > self.max_new_tokens:
            raise ArgumentError(
                f"min_new_tokens is {self.min_new_tokens}, max_new_tokens {self.max_new_tokens}",
                hint="min_new_tokens <= max_new_tokens",
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Request:
        """A request as it comes over a wire: {"constraint": {"kind": "Keywords", ...}, "suffix": ".", ...}.

        Args:
            values: the constraint as `Constraint.to_dict` writes it, and any of the other arguments by name.

        Raises:
            ArgumentError: an argument that there is none of, or one of the wrong type.
            ConstraintError: as `Constraint.from_dict`.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or "constraint" not in values or not set(names).issuperset(values):
            raise refused("a request", values, f'a dictionary with "constraint", and any of {", ".join(names[1:])}')
        return cls(**{**values, "constraint": Constraint.from_dict(values["constraint"])})


class Guiding:
    """Cursors for requests of one model. Threads may share it.

    Args:
        tokenizer: of the language model.
        hmm: HMM or QuantizedHMM distilled from it; None for the mask alone.
        strength: how strongly the HMM pulls; by default what suits it.
        max_states: most states of one automaton for a whole constraint; one that needs more is kept in parts.
        eos_token_id: the token that ends a text; the HMM's where None, the tokenizer's without an HMM.
        kept: constraints that stay prepared.

    Attributes:
        batch: scores cursors.

    Raises:
        VocabularyError: tokenizer and HMM do not fit together.
    """

    @checked
    def __init__(
        self,
        tokenizer: Tokenizer,
        hmm: HiddenMarkovModel | None,
        *,
        strength: AboveZero | None = None,
        max_states: Positive = EXACT_STATES,
        eos_token_id: Natural | None = None,
        kept: Positive = KEPT,
    ) -> None:
        self.tokenizer = tokenizer
        if hmm is not None and eos_token_id is None:
            eos_token_id = hmm.eos_token_id
        self.vocabulary = Vocabulary.of(tokenizer, None if hmm is None else hmm.vocab_size, eos_token_id)
        fingerprint = getattr(hmm, "fingerprint", None)
        if fingerprint is not None and fingerprint != self.vocabulary.fingerprint:
            raise VocabularyError(
                f"the HMM knows vocabulary {fingerprint[:12]}, the tokenizer has {self.vocabulary.fingerprint[:12]}",
                hint="use the tokenizer of the language model that the HMM was distilled from",
            )
        self.hmm = hmm
        self.batch = CursorBatch(hmm, getattr(hmm, "strength", 1.0) if strength is None else strength)
        self._prepared = PreparedConstraints(hmm, max_states, kept)
        self._preparing = threading.Lock()

    def cursor(self, request: Request) -> Cursor:
        """A cursor for a request, at the start of its content; prepared at once if the constraint is known.

        Args:
            request: what is asked for.

        Raises:
            UnsatisfiableError, BudgetError: the constraint cannot be kept, or not in so many tokens.
            ArgumentError: a prefix or suffix that the tokenizer cannot write.
        """
        token_range = (request.min_new_tokens, request.max_new_tokens)
        place = Place(request.prefix, request.suffix, False, token_range, False)
        with self._preparing:  # the second of two equal requests waits for the first, and prepares nothing
            (prepared,) = self._prepared.prepare(self.vocabulary, [request.constraint], [place])
        return Cursor(prepared.guide, self.hmm, prepared.constraint.prefix_ids)
