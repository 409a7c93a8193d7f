"""What comes back: texts with their scores, where the time went, and how to look at them more closely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ctrlg.arguments import checked
from ctrlg.errors import ArgumentError
from ctrlg.generation.tracing import Trace

Tracer = Callable[[tuple[int, ...]], Trace]
"""Reads a content again; a result knows the one of the call that wrote it."""


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

    # No field: it holds the models of the call, so it takes no part in comparisons, `asdict`, copies and pickles.
    _tracer: ClassVar[Tracer | None] = None

    def traced_by(self, tracer: Tracer) -> GenerationResult:
        """This result, which can be traced from now on."""
        object.__setattr__(self, "_tracer", tracer)
        return self

    def trace(self) -> Trace:
        """How the text was written, token by token; the models of the call read it once more.

        For every token: the probability that the constraint is satisfied, the tokens that the language model alone and
        with the guide preferred, and the automaton's state. Options of the call such as top_p take no part.

        Returns:
            The trace; `plot` shows it.

        Raises:
            ArgumentError: the result has no models any more: it is a copy, or was loaded from a file.
        """
        if self._tracer is None:
            raise ArgumentError(
                "the result has lost the models that wrote it", hint="trace what generate returned, not a copy of it"
            )
        return self._tracer(self.token_ids)

    @checked
    def plot(self, path: str | Path | None = None) -> Any:
        """The trace as a figure: the probability that the constraint is satisfied, and who preferred which token.

        Args:
            path: also write the figure to this file, .png, .svg or .pdf.

        Returns:
            The matplotlib figure.

        Raises:
            ArgumentError: as `trace`; matplotlib is not installed; the file cannot be written.
        """
        from ctrlg.generation.tracing.figure import plot

        return plot(self.trace, path)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_tracer"}
