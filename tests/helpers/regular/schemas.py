"""JSON schemas as people write them, the official suite's, and values in the form that `Json` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.constraints import Json
from ctrlg.constraints.json_schema.schemas import Document, escaped
from ctrlg.constraints.json_schema.validation import written

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "email": {"type": "string", "format": "email"},
        "born": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "maxItems": 2},
        "home": {"$ref": "#/$defs/place"},
    },
    "required": ["name", "age", "home"],
    "additionalProperties": False,
    "$defs": {
        "place": {
            "type": "object",
            "properties": {"city": {"type": "string", "pattern": "^[A-Z][a-z]+$"}, "zip": {"pattern": r"\d{5}"}},
            "required": ["city"],
        }
    },
}
TREE = {
    "type": "object",
    "properties": {"value": {"type": "number"}, "children": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}},
    "required": ["value"],
}
PETS = {
    "oneOf": [
        {"properties": {"kind": {"const": "cat"}, "lives": {"type": "integer", "minimum": 1, "maximum": 9}}},
        {"properties": {"kind": {"const": "dog"}, "friend": {"properties": {"name": {"type": "string"}}}}},
    ],
    "type": "object",
    "required": ["kind"],
}
OTHERS = [
    {"type": ["string", "null"], "minLength": 2},
    {"type": "number", "exclusiveMinimum": -1.5, "maximum": 10.25, "multipleOf": 0.25},
    {"enum": [1, "a", None, [1, {"b": 2, "a": [True]}], {"y": 1, "x": "\u72d7\n"}]},
    {"type": "object", "additionalProperties": {"type": "integer"}, "propertyNames": {"pattern": "^[a-z]{1,3}$"}},
    {
        "type": "object",
        "patternProperties": {"^n": {"type": "number"}, "s$": {"type": "string"}},
        "additionalProperties": False,
    },
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 1},
    {"type": "array", "contains": {"const": 7}, "minContains": 2, "maxContains": 3, "items": {"type": "integer"}},
    {"type": "array", "contains": PERSON["properties"]["age"], "maxItems": 3},
    {"not": {"type": ["integer", "object", "array"]}},
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {}},
        "minProperties": 1,
        "dependentRequired": {"a": ["b"]},
    },
    {
        "type": "object",
        "properties": {"unit": {"enum": ["m", "kg"]}, "size": {"type": "number"}},
        "required": ["unit", "size"],
        "if": {"properties": {"unit": {"const": "kg"}}},
        "then": {"properties": {"size": {"minimum": 0, "maximum": 5}}},
        "else": {"properties": {"size": {"multipleOf": 1}}},
    },
    {"allOf": [{"minimum": 3}, {"anyOf": [{"maximum": 7}, {"type": "string"}]}], "type": ["number", "string"]},
]  # fmt: skip
SCHEMAS: list[dict[str, Any]] = [PERSON, TREE, PETS, *OTHERS]


class Group(NamedTuple):
    """One schema of the official suite and its tests: (description, value, whether it is valid)."""

    name: str
    schema: Any
    tests: list[tuple[str, Any, bool]]


def suite(folder: Path) -> Iterator[Group]:
    """The groups in a folder of the suite's files."""
    for file in sorted(folder.glob("*.json")):
        for group in json.loads(file.read_text(encoding="utf-8")):
            tests = [(test["description"], test["data"], test["valid"]) for test in group["tests"]]
            yield Group(f"{file.stem}: {group['description']}", group["schema"], tests)


def compact(value: Any, constraint: Json) -> str:
    """The text of a value as `Json` writes it: its properties in the order of the schema."""
    exact = json.loads(json.dumps(value), parse_float=Decimal)
    return written(_ordered(exact, ["#"], Document(constraint.schema)))


def _ordered(value: Any, pointers: list[str], document: Document) -> Any:
    places = [at for pointer in pointers for at in document.in_place(pointer)]
    schemas = [(at, schema) for at in places if isinstance(schema := document[at], dict)]
    if isinstance(value, list):
        inner = []
        for place, one in enumerate(value):
            at = [
                f"{at}/items"
                for at, schema in schemas
                if "items" in schema and place >= len(schema.get("prefixItems", []))
            ]
            at += [f"{at}/prefixItems/{place}" for at, schema in schemas if place < len(schema.get("prefixItems", []))]
            inner.append(_ordered(one, at, document))
        return inner
    if not isinstance(value, dict):
        return value
    names = [name for pointer in pointers for name in document.names(pointer)]
    order = sorted(value, key=lambda name: names.index(name) if name in names else len(names))
    found = {}
    for name in order:
        at = [f"{at}/properties/{escaped(name)}" for at, schema in schemas if name in schema.get("properties", {})]
        found[name] = _ordered(value[name], at, document)
    return found
