"""`Json`: what its automaton accepts fits the schema, and every value that fits has a text that it accepts."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from helpers.regular.schemas import OTHERS, PERSON, PETS, SCHEMAS, TREE

from ctrlg.constraints import Json, Keywords, WordCount
from ctrlg.constraints.base import Target
from ctrlg.constraints.json_schema import numbers, strings
from ctrlg.errors import BudgetError, ConstraintError
from ctrlg.regular import language_of, parsed
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.language.schemas import compact, suite
from studies.language.texts import cut, near

jsonschema = pytest.importorskip("jsonschema")


def is_valid(schema: Any, value: Any) -> bool:
    checker = jsonschema.FormatChecker(formats=["date", "email", "ipv4", "uuid"])
    return jsonschema.Draft202012Validator(schema, format_checker=checker).is_valid(value)


def test_the_official_suite(shared_data: Path) -> None:
    accepted, wrong = 0, []
    groups = list(suite(shared_data / "suites" / "json_schema"))[::3]  # studies/language reads them all
    for group in groups:
        try:
            constraint = Json(group.schema, closed=False)
            language = constraint.language()
        except ConstraintError as error:
            assert error.message.startswith("the JSON schema at #"), error.message
            continue
        accepted += 1
        for description, value, valid in group.tests:
            text = compact(value, constraint)
            if (text in language, constraint.holds(text)) != (valid, valid):
                wrong.append((group.name, description, text))
    assert wrong == []
    assert accepted >= 0.88 * len(groups)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:40])
def test_what_is_accepted_is_valid(schema: dict[str, Any], closed: bool) -> None:
    constraint = Json(schema, depth=1, closed=closed)
    language = constraint.language()
    source = random.Random(0)
    seen = 0
    for text in near(language, source, 150):
        holds = constraint.holds(text)
        if text in language:
            seen += 1
            assert holds and is_valid(schema, json.loads(text)), text
        elif holds:
            # What is refused though it fits is nested too deep.
            assert _nesting(text) > 2, text
    assert seen > 20


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest


EXAMPLES = [
    (PERSON, {"name": "Ada", "age": 36, "home": {"city": "Paris"}}, True),
    (PERSON, {"name": "A", "age": 0, "born": "2000-02-29", "tags": ["b", "a"], "home": {"city": "Xx", "zip": 5}}, True),
    (PERSON, {"name": "Ada", "age": 151, "home": {"city": "Paris"}}, False),
    (PERSON, {"name": "Ada", "age": 36, "tags": ["a", "a"], "home": {"city": "Paris"}}, False),
    (PERSON, {"name": "Ada", "age": 36, "born": "1900-02-29", "home": {"city": "Paris"}}, False),
    (PERSON, {"name": "Ada", "age": 36, "home": {"city": "paris"}}, False),
    (TREE, {"value": 1.5, "children": [{"value": -2}, {"value": 0, "children": []}]}, True),
    (TREE, {"value": 1, "children": [{"value": None}]}, False),
    (PETS, {"kind": "cat", "lives": 9}, True),
    (PETS, {"kind": "cat", "lives": 10}, False),
    (PETS, {"kind": "dog", "friend": {"name": 1}}, False),
    (OTHERS[10], {"unit": "kg", "size": 4.5}, True),
    (OTHERS[10], {"unit": "m", "size": 4.5}, False),
]


@pytest.mark.parametrize(("schema", "value", "fits"), EXAMPLES)
def test_by_example(schema: dict[str, Any], value: Any, fits: bool) -> None:
    constraint = Json(schema)
    text = compact(value, constraint)
    assert (text in constraint.language()) == constraint.holds(text) == fits


@pytest.mark.parametrize("schema", [PERSON, PETS, OTHERS[2], OTHERS[8]], ids=["person", "pets", "enum", "not"])
def test_tokens_say_what_the_text_says(schema: dict[str, Any], vocabulary: Vocabulary) -> None:
    constraint = Json(schema, depth=1)
    target = Target(vocabulary, prefix="", suffix="")
    kept, broken = constraint.automaton(target), constraint.automaton(target, kept=False)
    source = random.Random(2)
    refused = 0
    language = constraint.language()
    for text in near(language, source, 40):
        ids = cut(text, vocabulary, source)
        if ids is not None:
            assert kept.accepts(ids) == (text in language)
            assert not (broken.accepts(ids) and constraint.holds(text))
            refused += broken.accepts(ids)
    assert refused


def test_beside_other_constraints_and_inside_of_a_text(synthetic: Vocabulary) -> None:
    constraint = Json({"type": "object", "properties": {"pet": {"type": "string"}}, "required": ["pet"]})
    both = constraint & Keywords(["dog"]) & WordCount(1, 3)
    dfa = both.compile(synthetic, prefix='{"pet":"the', suffix='"}')
    (ids,) = synthetic.spell([" dog"])
    assert ids is not None and dfa.accepts(ids) and both.holds('{"pet":"the dog"}')
    assert not dfa.accepts([*ids, *ids, *ids])


def test_a_model_of_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Person", name=(str, ...), age=(int, 3), tags=(list[str], []))
    constraint = Json(model)
    assert constraint == Json(json.dumps(model.model_json_schema()))
    for text in ('{"name":"Ada","age":5,"tags":["x"]}', '{"name":""}'):
        assert constraint.holds(text) and text in constraint.language()
        model.model_validate_json(text)
    assert '{"age":5}' not in constraint.language() and '{"name":"Ada","x":1}' not in constraint.language()


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a/b": {"unevaluatedItems": False}}}, "#/properties/a~1b/unevaluatedItems"),
        ({"$dynamicRef": "#a"}, "#/$dynamicRef"),
        ({"items": {"$ref": "https://example.org/x"}}, "#/items"),
        ({"$ref": "#/$defs/none"}, "#"),
        ({"allOf": [{"$ref": "#"}]}, "#"),
        ({"pattern": "a(?=b)"}, "#/pattern"),
        ({"anyOf": [{"format": "regex"}]}, "#/anyOf/0/format"),
        ({"type": "array", "uniqueItems": True}, "#/uniqueItems"),
        ({"not": {"properties": {"a": {"required": ["b"]}}}}, "#/not/properties/a"),
        ({"not": {"pattern": "\\d$"}}, "#/not/pattern"),
        ({"not": {"additionalProperties": {"type": "null"}}}, "#/not/additionalProperties"),
        ({"type": "object", "minProperties": 3}, "#/minProperties"),
        ({"type": "text"}, "#/type"),
        ({"minLength": -1}, "#/minLength"),
        ({"multipleOf": 0}, "#/multipleOf"),
        ({"multipleOf": 123457}, "#/multipleOf"),
        ({"properties": {"a": 3}}, "#/properties/a"),
        ({"items": [True]}, "#/items"),
        ({"required": "a"}, "#"),
        ({"enum": 3}, "#/enum"),
        ({"anyOf": {}}, "#"),
    ],
)  # fmt: skip
def test_refusals_have_a_path(schema: Any, path: str) -> None:
    with pytest.raises(ConstraintError) as caught:
        Json(schema).language()
    assert caught.value.message.startswith(f"the JSON schema at {path}: "), caught.value.message


@pytest.mark.parametrize("schema", [3, "[", "3", {"a": {1, 2}}, {"minimum": float("nan")}, None])
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises((ConstraintError, ValueError)):
        Json(schema)


def test_what_takes_too_much_is_refused_before_memory_goes() -> None:
    with pytest.raises(BudgetError):
        Json({"type": "array", "items": {"type": "array", "maxItems": 300}, "maxItems": 300}).language()
    with pytest.raises(BudgetError):
        Json({"type": "string", "minLength": 50_000}).language()


def test_numbers_compare_as_decimals_do() -> None:
    source = random.Random(0)

    def number() -> Decimal:
        return Decimal(source.randrange(-3000, 3000)) / Decimal(10) ** source.choice((0, 0, 1, 2, 3))

    for _ in range(25):
        bound, exclusive = number(), source.random() < 0.5
        above, below = numbers.at_least(bound, exclusive), numbers.at_most(bound, exclusive)
        for _ in range(40):
            other = number() if source.random() < 0.7 else bound + Decimal(source.randrange(-2, 3)) / 100
            text = numbers.spelled(other)
            assert (text in above) == (other > bound or (other == bound and not exclusive))
            assert (text in below) == (other < bound or (other == bound and not exclusive))
    for divisor in map(Decimal, ("1", "3", "0.01", "1.5", "100", "0.3")):
        language = numbers.multiples(divisor)
        for _ in range(60):
            other = number() if source.random() < 0.5 else divisor * source.randrange(-30, 30)
            assert (numbers.spelled(other) in language) == (other % divisor == 0) == numbers.divides(divisor, other)
    assert not any(text in numbers.numbers() for text in ("-0", "01", "1.0", "1.", ".5", "-", "", "1e5", "1.5.5"))


def test_strings_are_written_as_json_writes_them() -> None:
    source = random.Random(0)
    some = strings.quoted(language_of(parsed('(?s)[a"\\n\\x0b]*.?\u00e9*')))
    for _ in range(300):
        text = "".join(source.choice('ab"\\\n\t\x00\x1f\x0b\x7f \u00e9\u72d7/u') for _ in range(source.randrange(6)))
        assert strings.written(text) in strings.all_strings()
        member = text.rstrip("\u00e9")
        assert (strings.written(text) in some) == all(one in 'a"\n\x0b' for one in member[:-1])
    for text in ('"\\u0061"', '"\\/"', '"a', '"\n"', '"\\u000a"', '"\\u000B"', '"""'):
        assert text not in strings.all_strings()
