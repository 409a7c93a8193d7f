"""A JSON schema as it is read: which keywords it may have, where references lead, and which names a place knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeAlias
from urllib.parse import unquote

from ctrlg.errors import ConstraintError

Schema: TypeAlias = "bool | Mapping[str, Any]"

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
NUMBER = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
STRING = ("minLength", "maxLength", "pattern", "format")
ARRAY = ("prefixItems", "items", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains")
OBJECT = (
    *("properties", "patternProperties", "additionalProperties", "propertyNames", "required", "dependentRequired"),
    *("minProperties", "maxProperties"),
)
IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "$ref", "dependentSchemas")
ANNOTATIONS = (
    *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"),
    *("deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType", "discriminator"),
)
_KNOWN = {"type", "enum", "const", *NUMBER, *STRING, *ARRAY, *OBJECT, *IN_PLACE, *ANNOTATIONS}
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPPINGS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_COUNTS = (
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
)


def refused(pointer: str, what: str, hint: str = "") -> ConstraintError:
    """The error for a part of a schema, given by its path."""
    return ConstraintError(
        f"the JSON schema at {pointer or '#'}: {what}", hint=hint or "leave it out, or say it with other keywords"
    )


class Document:
    """A schema with everything in it, addressed by JSON pointers such as "#/properties/name".

    Raises:
        ConstraintError: a keyword that is not known, a value of a wrong kind, or a reference that leads nowhere.
    """

    def __init__(self, text: str) -> None:
        self.root: Schema = json.loads(text, parse_float=Decimal)
        self._schemas: dict[str, Schema] = dict(_with_inner("#", self.root))
        nested = [
            at for at, schema in self._schemas.items() if at != "#" and isinstance(schema, Mapping) and "$id" in schema
        ]
        for pointer, schema in self._schemas.items():
            if isinstance(schema, Mapping):
                _check(pointer, schema)
                if "$ref" in schema:
                    if nested:
                        raise refused(nested[0], "$id changes what references mean", "refer to '#/$defs/...' alone")
                    self.target(pointer)

    def __getitem__(self, pointer: str) -> Schema:
        return self._schemas[pointer]

    def target(self, pointer: str) -> str:
        """The pointer that the schema at a pointer refers to."""
        schema = self._schemas[pointer]
        reference = schema["$ref"] if isinstance(schema, Mapping) else None
        found = unquote(reference) if isinstance(reference, str) else None
        if found is None or not re.fullmatch(r"#(?:/.*)?", found, re.DOTALL) or found not in self._schemas:
            raise refused(pointer, f"$ref {reference!r} leads to no schema in it", "refer to '#', or to '#/$defs/...'")
        return found

    def in_place(self, pointer: str) -> Iterator[str]:
        """The pointers of all schemas that look at the same value as the one at a pointer, itself first."""
        seen: set[str] = set()
        waiting = [pointer]
        while waiting:
            here = waiting.pop()
            if here in seen:
                continue
            seen.add(here)
            yield here
            schema = self._schemas[here]
            if isinstance(schema, Mapping):
                inner = [f"{here}/{keyword}" for keyword in ("not", "if", "then", "else") if keyword in schema]
                for keyword in ("allOf", "anyOf", "oneOf"):
                    inner += [f"{here}/{keyword}/{place}" for place in range(len(schema.get(keyword, ())))]
                inner += [f"{here}/dependentSchemas/{escaped(name)}" for name in schema.get("dependentSchemas", {})]
                inner += [self.target(here)] if "$ref" in schema else []
                waiting += reversed(inner)

    def below(self, pointer: str) -> Iterator[str]:
        """The pointers of schemas that look at values inside of the one that the schema at a pointer looks at."""
        schema = self._schemas[pointer]
        if isinstance(schema, Mapping):
            for keyword in ("items", "contains", "additionalProperties"):
                if keyword in schema:
                    yield f"{pointer}/{keyword}"
            for place in range(len(schema.get("prefixItems", ()))):
                yield f"{pointer}/prefixItems/{place}"
            for keyword in ("properties", "patternProperties"):
                for name in schema.get(keyword, {}):
                    yield f"{pointer}/{keyword}/{escaped(name)}"

    def names(self, pointer: str) -> tuple[str, ...]:
        """The names of properties that all schemas of a place know, in the order in which they are written."""
        found: dict[str, None] = {}
        places = [schema for at in self.in_place(pointer) if isinstance(schema := self._schemas[at], Mapping)]
        for schema in places:
            found.update(dict.fromkeys(schema.get("properties", {})))
        for schema in places:
            found.update(dict.fromkeys(schema.get("required", ())))
            for name, others in schema.get("dependentRequired", {}).items():
                found.update(dict.fromkeys((name, *others)))
            found.update(dict.fromkeys(schema.get("dependentSchemas", {})))
            for value in (*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])):
                found.update(dict.fromkeys(value if isinstance(value, Mapping) else ()))
        return tuple(found)

    def takes_others(self, pointer: str) -> bool:
        """Whether a schema of a place says something about properties it has no name for, other than that there are
        none."""
        return any(
            "patternProperties" in schema or schema.get("additionalProperties", False) is not False
            for at in self.in_place(pointer)
            if isinstance(schema := self._schemas[at], Mapping)
        )

    @cached_property
    def recursive(self) -> frozenset[str]:
        """The pointers of places inside of which the same place comes again."""
        following = {
            pointer: {below for at in self.in_place(pointer) for below in self.below(at)} for pointer in self._schemas
        }
        found = set()
        for pointer in following:
            seen: set[str] = set()
            waiting = [*following[pointer]]
            while waiting:
                here = waiting.pop()
                if here not in seen:
                    seen.add(here)
                    waiting += following[here]
            if pointer in seen:
                found.add(pointer)
        return frozenset(found)


def escaped(name: str) -> str:
    """A name as a JSON pointer has it."""
    return name.replace("~", "~0").replace("/", "~1")


def _with_inner(pointer: str, schema: Any) -> Iterator[tuple[str, Schema]]:
    """A schema and all schemas in it, by their pointers."""
    if not isinstance(schema, (bool, Mapping)):
        raise refused(pointer, f"{schema!r} is no schema", "a schema is an object, true or false")
    yield pointer, schema
    if isinstance(schema, bool):
        return
    for keyword in ("items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"):
        if keyword in schema:
            yield from _with_inner(f"{pointer}/{keyword}", schema[keyword])
    for keyword in _LISTS:
        inner = schema.get(keyword, [])
        if not isinstance(inner, list):
            raise refused(pointer, f"{keyword} is no list")
        for place, one in enumerate(inner):
            yield from _with_inner(f"{pointer}/{keyword}/{place}", one)
    for keyword in _MAPPINGS:
        inner = schema.get(keyword, {})
        if not isinstance(inner, Mapping):
            raise refused(pointer, f"{keyword} is no object")
        for name, one in inner.items():
            yield from _with_inner(f"{pointer}/{keyword}/{escaped(name)}", one)


def _check(pointer: str, schema: Mapping[str, Any]) -> None:
    """Refuses keywords that are not known, and values of a wrong kind."""
    for keyword, value in schema.items():
        if keyword not in _KNOWN:
            raise refused(f"{pointer}/{escaped(keyword)}", "this keyword is not supported")
        if keyword in _COUNTS and not (_is_whole(value) and value >= 0):
            raise refused(f"{pointer}/{keyword}", f"{value} is no count")
        if keyword in NUMBER and not _is_number(value):
            raise refused(f"{pointer}/{keyword}", f"{value!r} is no number")
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(kinds, list) or any(kind not in TYPES for kind in kinds):
        raise refused(f"{pointer}/type", f"{schema['type']!r} is no type", f"one or more of {', '.join(TYPES)}")
    if schema.get("multipleOf", 1) <= 0:
        raise refused(f"{pointer}/multipleOf", "it is not above 0")
    required = [schema.get("required", []), *schema.get("dependentRequired", {}).values()]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in required):
        raise refused(pointer, "required is no list of names")
    for keyword in ("enum",):
        if not isinstance(schema.get(keyword, []), list):
            raise refused(f"{pointer}/{keyword}", "it is no list")
    for keyword in ("pattern", "format"):
        if not isinstance(schema.get(keyword, ""), str):
            raise refused(f"{pointer}/{keyword}", "it is no text")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and value == int(value)
