"""JSON schemas as people write them."""

from __future__ import annotations

from typing import Any

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
