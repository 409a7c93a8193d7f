"""What a visitor asks for: the text around the gap and the fields, checked, with each problem at its field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from ctrlg.automata.dfa import DFA
from ctrlg.constraints import AllOf, Constraint
from ctrlg.errors import BudgetError, CtrlGError, UnsatisfiableError
from ctrlg.page.fields import FIELDS, Around, Built, Field, checked_values, plain_text
from ctrlg.page.jobs import Stopped
from ctrlg.page.spacing import with_space_after
from ctrlg.vocabulary.token_bytes import Vocabulary

T = TypeVar("T")

LONGEST_BEFORE, LONGEST_AFTER = 4_000, 400  # characters; every token of the second is a step of the search
MOST_SUGGESTIONS = 8
MOST_STATES = 12_000  # of an automaton: its tables take a few seconds on two cores
MOST_TOKENS = 160  # of a content
_MORE_TOKENS = 6  # than the shortest content needs
_TOKENS_BY_DEFAULT = 32

WHOLE = "whole"
"""Where problems are shown that belong to no single field."""


class Asked(NamedTuple):
    """What is to be written.

    Attributes:
        prefix: the text before the gap, without a space at its end.
        suffix: the text after it.
        parts: the parts of the constraint, by field.
        spacing: what brings a space back, or None.
        number: of suggestions.
        max_new_tokens: most tokens of a content.
        notes: what the visitor should know, by field.
    """

    prefix: str
    suffix: str
    parts: dict[str, Constraint]
    spacing: Constraint | None
    number: int
    max_new_tokens: int
    notes: dict[str, str]

    @property
    def shown(self) -> Constraint:
        """The constraint as the visitor made it."""
        found = list(self.parts.values())
        return found[0] if len(found) == 1 else AllOf(tuple(piece for part in found for piece in part.parts()))

    @property
    def constraint(self) -> Constraint:
        """The constraint with what spacing needs."""
        return self.shown if self.spacing is None else self.shown & self.spacing


class Refused(Stopped):
    """A request with problems, each at a field (or `WHOLE`, "before", "after", "number")."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = dict(problems)


def asked(request: Any) -> Asked:
    """What a request asks for. Raises Refused, with all problems that can be seen without a vocabulary."""
    given: Mapping[str, Any] = request if isinstance(request, Mapping) else {}
    problems: dict[str, str] = {}
    texts = {
        name: _noted(problems, name, plain_text, f"the text {name} the gap", given.get(name, ""), longest, True) or ""
        for name, longest in (("before", LONGEST_BEFORE), ("after", LONGEST_AFTER))
    }
    number = given.get("number", 3)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST_SUGGESTIONS:
        problems["number"] = f"Choose 1 to {MOST_SUGGESTIONS} suggestions."
        number = 1
    prefix = texts["before"].rstrip(" ")
    spacing = with_space_after(prefix) if prefix and prefix != texts["before"] else None
    around = Around(prefix, _joined_to_a_word(texts["after"]))
    built = _built(given.get("fields"), around, problems)
    if problems:
        raise Refused(problems)
    parts = {name: one.constraint for name, one in built.items() if one.constraint is not None}
    notes = {name: one.note for name, one in built.items() if one.note}
    tokens = min((one.most_tokens for one in built.values() if one.most_tokens), default=_TOKENS_BY_DEFAULT)
    return Asked(*around, parts, spacing, number, tokens, notes)


def _built(values: Any, around: Around, problems: dict[str, str]) -> dict[str, Built]:
    """What every field makes of its values; what is wrong goes into `problems`."""
    given: Mapping[str, Any] = values if isinstance(values, Mapping) else {}
    built = {
        name: _noted(problems, name, _built_field, field, given.get(name), around) for name, field in FIELDS.items()
    }
    return {name: one for name, one in built.items() if one is not None}


def _built_field(field: Field, values: Any, around: Around) -> Built:
    return field.build(checked_values(field, values), around)


def fitted(request: Asked, vocabulary: Vocabulary) -> Asked:
    """The request with tokens enough for its constraint. Raises Refused where no text can satisfy it.

    Each part is compiled alone, then all together; where they exclude each other, those that do are named.
    """
    problems: dict[str, str] = {}
    alone = {
        name: _noted(problems, name, _compiled, [part], request, vocabulary) for name, part in request.parts.items()
    }
    if problems:
        raise Refused(problems)
    together = [*request.parts.values(), *([request.spacing] if request.spacing else [])]
    try:
        whole = _compiled(together, request, vocabulary)
    except UnsatisfiableError:
        raise Refused(_conflict(request, vocabulary)) from None
    except BudgetError as error:
        sizes = {name: dfa.num_states for name, dfa in alone.items() if dfa is not None}
        largest = max(sizes, key=lambda name: sizes[name], default=WHOLE)
        raise Refused({largest: f"With the other fields, this is too much: {_said(error)}"}) from None
    except CtrlGError as error:
        raise Refused({WHOLE: _said(error)}) from None
    least = whole.shortest_length() or 0
    tokens = max(request.max_new_tokens, least + _MORE_TOKENS)
    if tokens > MOST_TOKENS:
        raise Refused({WHOLE: f"This takes {least} tokens or more; {MOST_TOKENS - _MORE_TOKENS} are possible here."})
    return request._replace(max_new_tokens=tokens)


def _compiled(parts: list[Constraint], request: Asked, vocabulary: Vocabulary) -> DFA:
    constraint = parts[0] if len(parts) == 1 else AllOf(tuple(parts))
    return constraint.compile(vocabulary, prefix=request.prefix, suffix=request.suffix, max_states=MOST_STATES)


def _conflict(request: Asked, vocabulary: Vocabulary) -> dict[str, str]:
    """A message for each field of a smallest set that cannot be satisfied together."""
    conflict = dict(request.parts)
    for name in list(conflict):
        fewer = [part for other, part in conflict.items() if other != name]
        try:
            _compiled([*fewer, *([request.spacing] if request.spacing else [])], request, vocabulary)
        except UnsatisfiableError:
            del conflict[name]
        except CtrlGError:
            pass  # too many states: whether this field belongs to the conflict stays open, so it is named
    labels = {name: FIELDS[name].label for name in conflict}
    if len(conflict) < 2:
        return {name: "No text can satisfy this here." for name in conflict or {WHOLE: None}}
    return {
        name: "No text can satisfy this together with: "
        + "; ".join(f"{label} ({conflict[other]})" for other, label in labels.items() if other != name)
        + "."
        for name in conflict
    }


def _joined_to_a_word(after: str) -> str:
    """The text after the gap, with the space that its first word needs before it."""
    return f" {after}" if after and after[0].isalnum() else after


def _noted(problems: dict[str, str], name: str, work: Callable[..., T], *arguments: Any) -> T | None:
    """What the work returns; None where it raises an error of ours, which goes into `problems`."""
    try:
        return work(*arguments)
    except CtrlGError as error:
        problems[name] = _said(error)
        return None


def _said(error: CtrlGError) -> str:
    """An error as the page shows it: what is wrong, then what to do, as sentences."""
    if isinstance(error, BudgetError):
        return f"The automaton has more than {MOST_STATES:,} states. Ask for fewer words, or for a narrower range."
    message = error.message[:1].upper() + error.message[1:]
    hint = error.hint[:1].upper() + error.hint[1:]
    return f"{message.rstrip('.')}. {hint.rstrip('.')}." if hint else f"{message.rstrip('.')}."
