"""Whether a JSON text fits a schema, by plain recursion: what `Json.holds` says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ctrlg.constraints.json_schema import numbers, strings
from ctrlg.constraints.json_schema.schemas import Document, escaped


class Pairs(tuple):
    """An object as it is written: names and values in order, the same name perhaps twice."""

    __slots__ = ()

    def values_of(self, name: str) -> list[Any]:
        return [value for other, value in self if other == name]

    def names(self) -> list[str]:
        return [name for name, _ in self]


def fits(text: str, document: Document, *, closed: bool) -> bool:
    """Whether a text is in its shortest form, has its properties in order, and its value fits the schema.

    Args:
        text: JSON.
        document: the schema.
        closed: a place that has names for properties has no others, unless the schema says which.
    """
    try:
        value = json.loads(text, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        return False
    return written(value) == text and _at(value, "#", document, closed)


def written(value: Any) -> str:
    """A value in its shortest form."""
    if isinstance(value, str):
        return strings.written(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, Decimal)):
        return numbers.spelled(value)
    if isinstance(value, Mapping):
        value = Pairs(value.items())
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{strings.written(name)}:{written(inner)}" for name, inner in value) + "}"
    return "[" + ",".join(map(written, value)) + "]"


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _at(value: Any, pointer: str, document: Document, closed: bool) -> bool:
    """Whether a value fits the schema at a pointer, and its properties are those of the place, in their order."""
    if isinstance(value, Pairs):
        names = document.names(pointer)
        places = [names.index(name) if name in names else len(names) for name in value.names()]
        known = [place for place in places if place < len(names)]
        if places != sorted(places) or len(set(known)) < len(known):
            return False
        if closed and names and len(names) in places and not document.takes_others(pointer):
            return False
    return _fits(value, pointer, document, closed)


def _fits(value: Any, pointer: str, document: Document, closed: bool) -> bool:
    schema = document[pointer]
    if isinstance(schema, bool):
        return schema

    def inner(at: str) -> bool:
        return _fits(value, f"{pointer}/{at}", document, closed)

    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if "const" in schema and _key(schema["const"]) != _key(value):
        return False
    if "enum" in schema and _key(value) not in map(_key, schema["enum"]):
        return False
    if "$ref" in schema and not _fits(value, document.target(pointer), document, closed):
        return False
    if not all(inner(f"allOf/{place}") for place in range(len(schema.get("allOf", ())))):
        return False
    if "anyOf" in schema and not any(inner(f"anyOf/{place}") for place in range(len(schema["anyOf"]))):
        return False
    if "oneOf" in schema and sum(inner(f"oneOf/{place}") for place in range(len(schema["oneOf"]))) != 1:
        return False
    if "not" in schema and inner("not"):
        return False
    branch = ("then" if inner("if") else "else") if "if" in schema else None
    if branch in schema and not inner(str(branch)):
        return False
    if isinstance(value, str):
        return _string_fits(value, schema)
    if _is(value, "number"):
        return _number_fits(value, schema)
    if isinstance(value, list):
        return _array_fits(value, pointer, document, closed)
    return not isinstance(value, Pairs) or _object_fits(value, pointer, document, closed)


def _is(value: Any, kind: str) -> bool:
    if kind == "null":
        return value is None
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in ("integer", "number"):
        is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
        return is_number and (kind == "number" or value == int(value))
    return isinstance(value, {"string": str, "array": list, "object": Pairs}[kind])


def _key(value: Any) -> str:
    """Equal for equal values."""
    if isinstance(value, (Mapping, Pairs)):
        pairs = value.items() if isinstance(value, Mapping) else value
        return "{" + ",".join(sorted(f"{strings.written(name)}:{_key(inner)}" for name, inner in pairs)) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(map(_key, value)) + "]"
    return written(value)


def _number_fits(value: int | Decimal, schema: Mapping[str, Any]) -> bool:
    return (
        ("minimum" not in schema or value >= schema["minimum"])
        and ("maximum" not in schema or value <= schema["maximum"])
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        and ("multipleOf" not in schema or numbers.divides(Decimal(schema["multipleOf"]), Decimal(value)))
    )


def _string_fits(value: str, schema: Mapping[str, Any]) -> bool:
    if not _is_count(len(value), schema, "Length"):
        return False
    patterns = [schema["pattern"], f"(?a:{schema['pattern']})"] if "pattern" in schema else []
    if not all(re.search(pattern, value) for pattern in patterns):
        return False
    return "format" not in schema or re.fullmatch(strings.FORMATS[schema["format"]], value) is not None


def _is_count(count: int, schema: Mapping[str, Any], what: str) -> bool:
    return schema.get(f"min{what}", 0) <= count <= schema.get(f"max{what}", count)


def _array_fits(value: list[Any], pointer: str, document: Document, closed: bool) -> bool:
    schema = document[pointer]
    if isinstance(schema, bool) or not _is_count(len(value), schema, "Items"):
        return isinstance(schema, bool) and schema
    first = len(schema.get("prefixItems", ()))
    for place, one in enumerate(value):
        at = f"prefixItems/{place}" if place < first else "items"
        if (place < first or "items" in schema) and not _at(one, f"{pointer}/{at}", document, closed):
            return False
    if schema.get("uniqueItems") is True and len(set(map(_key, value))) < len(value):
        return False
    if "contains" not in schema:
        return True
    found = sum(_fits(one, f"{pointer}/contains", document, closed) for one in value)
    return schema.get("minContains", 1) <= found <= schema.get("maxContains", found)


def _object_fits(value: Pairs, pointer: str, document: Document, closed: bool) -> bool:
    schema = document[pointer]
    if isinstance(schema, bool) or not _is_count(len(set(value.names())), schema, "Properties"):
        return isinstance(schema, bool) and schema
    present = set(value.names())
    if not present.issuperset(schema.get("required", ())):
        return False
    for name, needed in schema.get("dependentRequired", {}).items():
        if name in present and not present.issuperset(needed):
            return False
    for name in schema.get("dependentSchemas", {}):
        if name in present and not _fits(value, f"{pointer}/dependentSchemas/{escaped(name)}", document, closed):
            return False
    for name, inner in value:
        at = [f"properties/{escaped(name)}"] if name in schema.get("properties", {}) else []
        matching = [pattern for pattern in schema.get("patternProperties", {}) if re.search(pattern, name)]
        at += [f"patternProperties/{escaped(pattern)}" for pattern in matching]
        if not at and "additionalProperties" in schema:
            at.append("additionalProperties")
        if not all(_at(inner, f"{pointer}/{one}", document, closed) for one in at):
            return False
        if "propertyNames" in schema and not _fits(name, f"{pointer}/propertyNames", document, closed):
            return False
    return True
