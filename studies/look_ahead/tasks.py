"""Seeded tasks: a request, and what the answer must be: a text of a pattern, JSON of a schema, or one of some texts."""

from __future__ import annotations

import json
import random
import re
from typing import Any, NamedTuple

from ctrlg.constraints import Choice, Constraint, Json, Regex

KINDS = ("regex", "json", "choice")
_PAIRS = (
    ("dog", "park"),
    ("rain", "garden"),
    ("teacher", "school"),
    ("train", "city"),
    ("cook", "kitchen"),
    ("boat", "lake"),
    ("child", "book"),
    ("farmer", "field"),
    ("music", "street"),
    ("snow", "mountain"),
)
_FIELDS = ("Name", "City", "Country", "Job", "Hobby", "Animal", "Colour")
_LISTS = (
    "animals that live in water",
    "things to pack for a hike",
    "reasons to read",
    "dishes with rice",
    "old trades",
)
_QUESTIONS = ("the moon", "bread", "bees", "winter", "sleep", "rivers", "chess")
_THINGS = ("book", "restaurant", "person", "city", "movie", "plant", "recipe", "company")
_WHO = ("A girl", "The old man", "My neighbour", "A dog", "The teacher", "Someone")
_DOES = ("walks", "waits", "sings", "sleeps", "reads", "laughs")
_WHERE = ("in the park", "at home", "by the river", "near the station", "under a tree")
_WHEN = (
    "in the early morning",
    "after a long day of work",
    "because the rain has stopped at last",
    "with a few friends",
)
_WORD = "[a-z]+"


class Task(NamedTuple):
    """A request and its answer's form.

    kind: of KINDS. prompt: the request. given: the pattern, the schema or the texts.
    """

    kind: str
    prompt: str
    given: Any

    def constraint(self) -> Constraint:
        """Ours."""
        return {"regex": Regex, "json": Json, "choice": Choice}[self.kind](self.given)

    def fits(self, text: str) -> bool:
        """Whether an answer has the form, by `re`, `jsonschema` or comparison."""
        if self.kind == "regex":
            return re.fullmatch(self.given, text) is not None
        if self.kind == "choice":
            return text in self.given
        import jsonschema

        try:
            return jsonschema.Draft202012Validator(self.given).is_valid(json.loads(text))
        except json.JSONDecodeError:
            return False


def task(number: int, seed: int) -> Task:
    """The task of this number; kinds take turns."""
    source = random.Random(f"{seed} {number}")
    return (_regex, _json, _choice)[number % len(KINDS)](source)


def _regex(source: random.Random) -> Task:
    return source.choice((_sentence, _form, _list, _answer))(source)


def _sentence(source: random.Random) -> Task:
    first, second = source.choice(_PAIRS)
    most = source.randint(2, 4)
    some = rf"(?: {_WORD}){{1,{most}}}"
    pattern = rf"[A-Z][a-z]*(?: {_WORD}){{0,{most}}} {first}{some} {second}(?: {_WORD}){{0,{most}}}\."
    return Task("regex", f"Write a sentence with the word {first} and then the word {second}.", pattern)


def _form(source: random.Random) -> Task:
    fields = source.sample(_FIELDS, source.randint(2, 4))
    lines = [rf"{field}: [A-Z][a-z]+(?: [A-Z][a-z]+)?\n" for field in fields]
    pattern = "".join(lines) + rf"Age: [1-9][0-9]?\nAbout: [A-Z][a-z]+(?: {_WORD}){{2,12}}\."
    return Task("regex", f"Invent a person: {', '.join(fields)}, Age, About. One line each.", pattern)


def _list(source: random.Random) -> Task:
    items = source.randint(3, 5)
    pattern = "\\n".join(rf"{number}\. [A-Z][a-z]+(?: {_WORD}){{0,8}}" for number in range(1, items + 1))
    return Task("regex", f"List {items} {source.choice(_LISTS)}, numbered.", pattern)


def _answer(source: random.Random) -> Task:
    about = source.choice(_QUESTIONS)
    pattern = rf"Q: (?:What|Why|How) {_WORD}(?: {_WORD}){{1,10}}\?\nA: [A-Z][a-z]+(?: {_WORD}){{2,15}}\."
    return Task("regex", f"Write a question about {about} and its answer.", pattern)


def _json(source: random.Random) -> Task:
    text = {"type": "string", "minLength": 3, "maxLength": source.randint(20, 60)}
    number = {"type": "integer", "minimum": 0, "maximum": source.choice((100, 2030))}
    words = {
        "type": "array",
        "items": {"type": "string", "minLength": 3, "maxLength": 12},
        "minItems": 2,
        "maxItems": 4,
    }
    kinds = {"type": "string", "enum": source.sample(["new", "good", "cheap", "strange", "famous", "quiet"], 3)}
    known = {"name": text, "year": number, "tags": words, "kind": kinds, "note": text, "open": {"type": "boolean"}}
    names = ["name", *source.sample(["year", "tags", "kind", "note", "open"], source.randint(1, 3))]
    properties = {name: known[name] for name in names}
    thing = source.choice(_THINGS)
    schema = {"type": "object", "properties": properties, "required": names, "additionalProperties": False}
    return Task("json", f"Describe a {thing} as JSON with {', '.join(names)}.", schema)


def _choice(source: random.Random) -> Task:
    texts = set()
    while len(texts) < 8:
        parts = [source.choice(_WHO), source.choice(_DOES), source.choice(_WHERE)]
        more = source.sample(_WHEN, source.randint(0, 3))
        texts.add(" ".join(parts + more) + ".")
    return Task("choice", f"Write a sentence about {source.choice(_PAIRS)[0]}s.", sorted(texts))
