"""What a request asks of an engine, and the cursors for it: one room of prepared constraints for all requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, fields
from typing import Any

from ctrlg.arguments import AboveZero, Natural, Positive, Tokenizer, checked, refused
from ctrlg.constraints import Constraint, WordCount
from ctrlg.decoding.cursors import Cursor, CursorBatch, advance_all
from ctrlg.defaults import EXACT_STATES
from ctrlg.errors import ArgumentError, BudgetError, CtrlGError, VocabularyError
from ctrlg.generation.compiled import Place, suffix_ids_of
from ctrlg.generation.prepared import Prepared, PreparedConstraints
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.vocabulary import Vocabulary

KEPT = 256
"""Constraints that stay prepared, as far as their tables fit into 1 GiB together."""


@checked
@dataclass(frozen=True)
class Request:
    """What a request asks for, beside its prompt.

    Args:
        constraint: about the whole text of prefix, content and suffix.
        prefix: text at the end of the prompt that the constraint is about as well.
        suffix: text after the content, written exactly so; end of text is added to it.
        min_new_tokens: least tokens of the content.
        max_new_tokens: most tokens of the content; fewer where the engine's own limit leaves less room.
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

    @classmethod
    def from_wire(cls, value: Any) -> Request:
        """A request from whatever an engine's wire can carry.

        Args:
            value: a dictionary, as `from_dict` reads it; the same as a JSON text; or a Request.

        Raises:
            ArgumentError: a text that is no JSON, and as `from_dict`.
            ConstraintError: as `from_dict`.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise ArgumentError(
                    f"a request is no JSON: {error}", hint='{"constraint": {"kind": "Keywords", "groups": [["dog"]]}}'
                ) from None
        return cls.from_dict(value)


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
        self._changing = threading.Lock()
        self._running: dict[tuple[Constraint, Place], Future[Prepared]] = {}

    def cursor(self, request: Request, most_tokens: int | None = None) -> Cursor:
        """A cursor for a request, at the start of its content; at once if the constraint is prepared.

        Threads prepare different constraints at the same time, and equal ones once.

        Args:
            request: what is asked for.
            most_tokens: the engine's limit for content, suffix and end of text together; None for none.

        Raises:
            UnsatisfiableError, BudgetError: the constraint cannot be kept, or not in so many tokens.
            ArgumentError: a prefix or suffix that the tokenizer cannot write.
        """
        place = self._place(request, most_tokens)
        prepared = self._prepared_for(request.constraint, place)
        return Cursor(prepared.guide, self.hmm, prepared.constraint.prefix_ids)

    def ready(self, request: Request, most_tokens: int | None = None) -> Cursor | None:
        """`cursor` if the constraint is prepared, at once; None where it has to be prepared first.

        Args:
            request: what is asked for.
            most_tokens: the engine's limit.

        Raises:
            CtrlGError: as `cursor`, for what needs no preparation to be seen.
        """
        prepared = self._prepared.ready(self.vocabulary, request.constraint, self._place(request, most_tokens))
        return None if prepared is None else Cursor(prepared.guide, self.hmm, prepared.constraint.prefix_ids)

    def warm_up(self) -> None:
        """Compile the kernels, so that the first request need not wait for them."""
        try:
            cursors = [self.cursor(Request(WordCount(1, most), max_new_tokens=8)) for most in (3, 4)]
        except CtrlGError:  # a vocabulary without words: the first request waits
            return
        scores = self.batch.log_ratios(cursors)
        advance_all(cursors, scores.argmax(dim=1).tolist())

    def _place(self, request: Request, most_tokens: int | None) -> Place:
        suffix = len(suffix_ids_of(self.vocabulary, request.suffix))
        most = request.max_new_tokens if most_tokens is None else min(request.max_new_tokens, most_tokens - suffix)
        if most < request.min_new_tokens:
            raise BudgetError(
                f"{most_tokens} tokens leave {most} for the content, min_new_tokens is {request.min_new_tokens}",
                hint=f"let the engine write {request.min_new_tokens + suffix} tokens or more (max_tokens)",
            )
        return Place(request.prefix, request.suffix, False, (request.min_new_tokens, most), False)

    def _prepared_for(self, constraint: Constraint, place: Place) -> Prepared:
        try:
            key = (constraint, place)
            hash(key)
        except TypeError:  # holds something that can change: nothing is equal to it
            return self._prepared.prepare(self.vocabulary, [constraint], [place])[0]
        with self._changing:
            running = self._running.get(key)
            mine = running is None
            if running is None:
                running = self._running[key] = Future()
        if mine:
            try:
                running.set_result(self._prepared.prepare(self.vocabulary, [constraint], [place])[0])
            except BaseException as error:
                running.set_exception(error)
            finally:
                with self._changing:
                    del self._running[key]
        return running.result()
