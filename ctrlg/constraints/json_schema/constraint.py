"""Texts that are JSON, as a schema describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ctrlg.arguments import Natural, checked, refused
from ctrlg.automata.algebra import MAX_STATES
from ctrlg.automata.dfa import DFA
from ctrlg.constraints.base import Target
from ctrlg.constraints.json_schema.languages import SchemaLanguages
from ctrlg.constraints.json_schema.schemas import Document
from ctrlg.constraints.json_schema.validation import fits
from ctrlg.constraints.patterns.regular import RegularConstraint
from ctrlg.errors import ConstraintError
from ctrlg.regular import Expression, Language, Within

_SHOWN = 60  # characters of a schema in a name


@checked
@dataclass(frozen=True)
class Json(RegularConstraint):
    """The whole text, prefix and suffix included, is JSON that fits a schema (draft 2020-12), in compact form.

    Compact: no white space, properties in the order in which the schema names them, others behind, no escapes but the
    necessary ones, numbers without exponents and without needless zeros. Every value has a text. What a finite
    automaton cannot follow is refused with the path of the keyword; see docs/constraints.md.

    Args:
        schema: a dictionary, a JSON text, or a pydantic model; kept as a JSON text.
        depth: levels of arrays and objects where the schema allows anything, and of places that contain themselves.
        closed: an object for which the schema names properties has no others, unless additionalProperties or
            patternProperties say what they are; False allows others, as the standard does.

    Raises:
        ConstraintError: it is no schema, or a part of it is not supported; the message has its path.
    """

    schema: Any
    depth: Natural = 3
    closed: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", _as_text(self.schema))
        self._document  # noqa: B018  # reads it, so that what is not supported is refused here

    @cached_property
    def _document(self) -> Document:
        return Document(self.schema)

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return fits(text, self._document, closed=self.closed)

    def language(self, max_states: int = MAX_STATES) -> Language:
        """See RegularConstraint."""
        return SchemaLanguages(self._document, self.depth, self.closed, max_states).whole()

    def expression(self) -> Expression:
        """See RegularConstraint."""
        return Within(self.language())

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint. What breaks it for sure is what no text could be, whatever its inner values."""
        if kept:
            return self.lifted(self.language(target.max_states), target)
        rough = SchemaLanguages(self._document, self.depth, self.closed, target.max_states).roughly()
        return self.lifted(~rough, target)

    def __str__(self) -> str:
        shown = self.schema if len(self.schema) <= _SHOWN else f"{self.schema[:_SHOWN]}..."
        return f"JSON that fits {shown}"


def _as_text(schema: Any) -> str:
    """A schema as a JSON text."""
    if callable(getattr(schema, "model_json_schema", None)):  # a pydantic model
        schema = schema.model_json_schema()
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except ValueError as error:
            raise ConstraintError(f"the schema is no JSON: {error}", hint="give a JSON text or a dictionary") from error
    if not isinstance(schema, (bool, Mapping)):
        raise refused("schema", schema, "a dictionary, a JSON text of one, or a pydantic model")
    try:
        return json.dumps(schema, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConstraintError(
            f"the schema is no JSON: {error}", hint="use texts, numbers, lists and dictionaries"
        ) from error
