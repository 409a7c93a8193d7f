"""The official suite of JSON schemas, and values in the form that `Json` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from ctrlg.constraints import Json
from ctrlg.constraints.json_schema.schemas import Document, escaped
from ctrlg.constraints.json_schema.validation import written


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
