"""What a search was made of, so that its texts can be read again the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.generation.compiled import CompiledConstraint, Place
from ctrlg.generation.prepared import Prepared, PreparedConstraints
from ctrlg.generation.tracing.trace import Trace, traced
from ctrlg.look_ahead.model import HiddenMarkovModel


class Weighing(NamedTuple):
    """How a language model's scores and the guide are joined; see `ctrlg.generate`."""

    hmm: HiddenMarkovModel | None
    temperature: float
    soft_mask: bool
    strength: float

    def processor(self, prepared: Prepared, prompt: Sequence[int]) -> ConstraintLogitsProcessor:
        """The logits processor of a prepared constraint after a prompt (token ids, padded where need be)."""
        return ConstraintLogitsProcessor.from_guide(
            self.hmm, prepared.guide, prompt, prepared.constraint.prefix_ids, *self[1:]
        )


class Origin(NamedTuple):
    """What wrote some texts.

    model: the language model. prepared: where tables are kept, for as long as they are.
    constraint: compiled for its place. prompt: token ids.
    """

    model: Any
    prepared: PreparedConstraints
    constraint: CompiledConstraint
    place: Place
    prompt: tuple[int, ...]
    weighing: Weighing

    def trace(self, content: Sequence[int]) -> Trace:
        """The trace of one of its contents; tables that are no longer kept are made again."""
        compiled = self.constraint
        (prepared,) = self.prepared.prepare(compiled.vocabulary, [compiled.constraint], [self.place])
        processor = self.weighing.processor(prepared, self.prompt)
        return traced(self.model, processor, prepared.constraint, content)
