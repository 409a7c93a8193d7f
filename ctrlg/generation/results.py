"""What comes back: texts with their scores, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Timing(NamedTuple):
    """Seconds a constraint took, all its texts together; what several share (`generate_many`) in equal parts.

    Attributes:
        preparation: automaton and look-ahead tables.
        symbolic: the logits processor's steps.
        neural: everything else of `model.generate`.
        steps: tokens written one after another.
    """

    preparation: float
    symbolic: float
    neural: float
    steps: int


@dataclass(frozen=True)
class GenerationResult:
    """One text that was written under a constraint.

    Attributes:
        text: prefix, content and suffix.
        token_ids: the content's tokens.
        log_prob: of content, suffix and end of text after the prompt, by the language model, in nats per token.
        total_log_prob: the same, summed.
        satisfied: the constraint holds in the text, checked without its automaton (with it where there is no other
            form).
        timing: of the call that wrote it.
    """

    text: str
    token_ids: tuple[int, ...]
    log_prob: float
    total_log_prob: float
    satisfied: bool
    timing: Timing = field(compare=False)
