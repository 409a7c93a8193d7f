"""One error tree: every refusal names the offending value and, in `hint`, what would be right."""

from __future__ import annotations

from collections.abc import Mapping


class CtrlGError(Exception):
    """Root of all errors this library raises on purpose.

    message: what is wrong, with the offending value.
    hint: what the caller can do about it; shown after the message.
    """

    default_hint = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint = hint or self.default_hint
        super().__init__(f"{message}\n  hint: {hint}" if hint else message)


class ArgumentError(CtrlGError, ValueError):
    """An argument is outside its range (bits, thresholds, shapes, probabilities that do not sum to 1)."""


class ConstraintError(CtrlGError, ValueError):
    """A constraint cannot be understood, compiled or kept."""


class UnsatisfiableError(ConstraintError):
    """No text keeps the constraint, whatever the budget."""


class BudgetError(ConstraintError):
    """The constraint can be kept, but not within the tokens (or automaton states) it is given."""


class VocabularyError(CtrlGError, ValueError):
    """Token ids, vocabulary sizes or tokenizers do not fit together."""


class CheckpointError(CtrlGError):
    """A checkpoint is truncated, foreign, or states what its tensors do not hold."""

    default_hint = "the file is damaged or foreign; save it or fetch it again"


class DataError(CtrlGError, ValueError):
    """A data file is missing, empty, or lacks what the work needs."""


class ProcessError(CtrlGError):
    """Another process of a distributed job is gone, hangs, or the job was told to stop."""


def require_at_least(settings: object, least: Mapping[str, float]) -> None:
    """Raise ArgumentError for the first attribute that is smaller than `least` says, or NaN; None is not looked at."""
    for name, bound in least.items():
        value = getattr(settings, name)
        if value is not None and not value >= bound:
            raise ArgumentError(f"{name} is {value}", hint=f"choose {bound} or more")


def differing_settings(found: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    """ "seed was 5 and is 6; ..." for all names whose values differ; "" where none does. Long digests are cut short."""
    return "; ".join(
        f"{name} was {_short(found.get(name))} and is {_short(wanted.get(name))}"
        for name in sorted({*found, *wanted})
        if found.get(name) != wanted.get(name)
    )


def _short(value: object) -> str:
    is_digest = isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
    return f"{str(value)[:8]}..." if is_digest else repr(value)
