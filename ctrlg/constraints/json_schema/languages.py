"""From a JSON schema to the language of the JSON texts that it describes.

Every value has one text (numbers in their shortest form, strings with as few escapes as possible, no white space,
properties in the order of the schema), so that the algebra of schemas is that of languages: allOf is an intersection,
anyOf a union, not a complement. Three things a finite automaton cannot see are taken care of:

- other properties than those a place has names for may come in any order, and the same one twice. That is harmless
  where every one of them is looked at by itself; where it is not (counting them, or beneath a `not`), it is refused.
- values inside of an object have an order of their own, so a complement would hold the same value in another order:
  beneath a `not`, schemas with names inside of names are refused. oneOf needs no complement where the alternatives
  exclude each other even with anything in place of inner values.
- depth: anything at all, and places that come again inside of themselves, are nested a given number of times.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from ctrlg.automata.algebra import MAX_STATES
from ctrlg.constraints.json_schema import numbers, strings
from ctrlg.constraints.json_schema.containers import Counted, Elements, Properties
from ctrlg.constraints.json_schema.schemas import ARRAY, NUMBER, OBJECT, STRING, Document, escaped, refused
from ctrlg.errors import BudgetError, ConstraintError
from ctrlg.regular import Characters, CharacterSet, Expression, Language, OneOf, Repeat, Within, language_of, literal
from ctrlg.regular import Sequence as InTurn
from ctrlg.regular.character_sets import EVERY
from ctrlg.regular.language import combined

_MOST_ORDERS = 120  # of properties of a constant that no place has a name for
_MOST_PATTERNS = 4  # of names: each is met together with each of the others, or not
_MOST_DIFFERENT = 8  # elements of an array in which none comes twice


class Place(NamedTuple):
    """Where a value is, as all schemas that look at it agree.

    names: of properties, in the order in which they are written. others: whether there may be other properties.
    depth: how often recursive places may still be entered. exact: texts of values that do not fit must be missing
    because of the value, never because of its form. shallow: inner values may be anything.
    """

    names: tuple[str, ...]
    others: bool
    depth: int
    exact: bool = False
    shallow: bool = False


class SchemaLanguages:
    """Languages of the parts of one schema.

    Args:
        document: the schema.
        depth: levels of anything at all, and of recursion.
        closed: a place that has names for properties has no others, unless the schema says which.
        max_states: most states of a language on the way.
    """

    def __init__(self, document: Document, depth: int, closed: bool, max_states: int = MAX_STATES) -> None:
        self._document, self._depth, self._closed, self._max_states = document, depth, closed, max_states
        self._places: dict[tuple[str, int, bool, bool], Language] = {}

    def whole(self) -> Language:
        """The texts of the values that the schema describes."""
        return self._at("#", self._depth + 1)

    def roughly(self) -> Language:
        """All of these texts, and more: values inside of the whole one may be anything, nested as often as you like."""
        return self._at("#", self._depth + 1, shallow=True)

    def _at(self, pointer: str, depth: int, exact: bool = False, shallow: bool = False) -> Language:
        """The texts of a value that the schema at a pointer looks at, and no schema but those in place with it."""
        if pointer in self._document.recursive:
            if exact:
                raise refused(pointer, "recursion is not supported beneath a 'not' or an 'if'")
            depth -= 1
            if depth < 0:
                return _rough_values() if shallow else language_of(OneOf(()))
        key = (pointer, depth, exact, shallow)
        if key not in self._places:
            names = self._document.names(pointer)
            others = not (self._closed and names) or self._document.takes_others(pointer)
            place = Place(names, others, depth, exact, shallow)
            found = self._in_place(pointer, place, ())
            self._places[key] = self._everything(place) if found is None else found
        return self._places[key]

    def _in_place(self, pointer: str, place: Place, path: tuple[str, ...]) -> Language | None:
        """The texts of a value at a place that one of its schemas describes; None for all of the place."""
        if pointer in path:
            raise refused(pointer, "it refers to itself with nothing in between")
        path = (*path, pointer)
        schema = self._document[pointer]
        if schema is True:
            return None
        if schema is False:
            return language_of(OneOf(()))
        found = [self._own(pointer, schema, place)]
        if "$ref" in schema:
            found.append(self._in_place(self._document.target(pointer), place, path))
        inner = [f"{pointer}/allOf/{number}" for number in range(len(schema.get("allOf", ())))]
        found += [self._in_place(one, place, path) for one in inner]
        if "anyOf" in schema:
            inner = [f"{pointer}/anyOf/{number}" for number in range(len(schema["anyOf"]))]
            found.append(self._any([self._in_place(one, place, path) for one in inner]))
        if "oneOf" in schema:
            found.append(self._exactly_one(pointer, schema, place, path))
        if "not" in schema:
            found.append(self._opposite(f"{pointer}/not", place, path))
        if "if" in schema and ("then" in schema or "else" in schema):
            found.append(self._conditional(pointer, schema, place, path))
        for name in schema.get("dependentSchemas", {}):
            without = self._without(name, place)
            then = self._in_place(f"{pointer}/dependentSchemas/{escaped(name)}", place, path)
            found.append(self._any([without, then]))
        return self._all(found)

    def _own(self, pointer: str, schema: Mapping[str, Any], place: Place) -> Language | None:
        """What the keywords of a schema itself say, those that contain other schemas in place left out."""
        kinds = schema.get("type")
        kinds = {kinds} if isinstance(kinds, str) else None if kinds is None else set(kinds)
        found: list[Language | None] = []
        if kinds is not None or any(keyword in schema for keyword in (*NUMBER, *STRING, *ARRAY, *OBJECT)):
            parts: list[Language] = []
            if kinds is None or kinds & {"number", "integer"}:
                parts.append(self._numbers(pointer, schema, kinds is not None and "number" not in kinds))
            if kinds is None or "string" in kinds:
                parts.append(self._strings(pointer, schema, place.exact))
            if kinds is None or "array" in kinds:
                parts.append(self._language(self._arrays(pointer, schema, place)))
            if kinds is None or "object" in kinds:
                parts.append(self._language(self._objects(pointer, schema, place)))
            constants = {"null": ("null",), "boolean": ("true", "false")}
            fixed = [text for kind, texts in constants.items() if kinds is None or kind in kinds for text in texts]
            found.append(self._language(OneOf((*map(Within, parts), *map(literal, fixed)))))
        for keyword in ("enum", "const"):
            if keyword in schema:
                values = schema[keyword] if keyword == "enum" else [schema[keyword]]
                if place.exact and any(map(_has_inner_names, values)):
                    raise refused(f"{pointer}/{keyword}", "objects inside of values cannot be compared beneath a 'not'")
                written = [_texts(value, place.names, f"{pointer}/{keyword}") for value in values]
                found.append(self._language(OneOf(tuple(written))))
        return self._all(found)

    def _numbers(self, pointer: str, schema: Mapping[str, Any], whole: bool) -> Language:
        found = [numbers.integers() if whole else numbers.numbers()]
        for keyword, make, exclusive in (
            ("minimum", numbers.at_least, False),
            ("exclusiveMinimum", numbers.at_least, True),
            ("maximum", numbers.at_most, False),
            ("exclusiveMaximum", numbers.at_most, True),
        ):
            if keyword in schema:
                found.append(make(Decimal(schema[keyword]), exclusive))
        if "multipleOf" in schema:
            try:
                found.append(numbers.multiples(Decimal(schema["multipleOf"])))
            except BudgetError as error:
                raise refused(f"{pointer}/multipleOf", error.message, error.hint) from error
        return combined(found, "intersection", self._max_states)

    def _strings(self, pointer: str, schema: Mapping[str, Any], exact: bool) -> Language:
        found: list[Language] = []
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if least or most is not None:
            found.append(self._language(_characters(int(least), None if most is None else int(most))))
        if "pattern" in schema:
            found.append(self._matching(f"{pointer}/pattern", schema["pattern"], exact))
        if "format" in schema:
            form = strings.FORMATS.get(schema["format"])
            if form is None:
                known = ", ".join(strings.FORMATS)
                raise refused(
                    f"{pointer}/format", f"the format {schema['format']!r} is not supported", f"one of {known}"
                )
            if exact:
                raise refused(f"{pointer}/format", "a format beneath a 'not' is not supported")
            found.append(self._language(strings.parsed(form)))
        if not found:
            return strings.all_strings()
        return strings.quoted(combined(found, "intersection", self._max_states))

    def _matching(self, pointer: str, pattern: str, exact: bool) -> Language:
        """The strings in which a pattern matches for Python and for JavaScript."""
        try:
            python, other = strings.matching(pattern)
        except ConstraintError as error:
            raise refused(pointer, error.message, error.hint) from error
        both = python & other
        if exact and not ((python - both).is_empty() and (other - both).is_empty()):
            raise refused(pointer, f"{pattern!r} means different things in Python and in JavaScript")
        return both

    def _arrays(self, pointer: str, schema: Mapping[str, Any], place: Place) -> Expression:
        first = [
            self._inner(f"{pointer}/prefixItems/{number}", place)
            for number in range(len(schema.get("prefixItems", ())))
        ]
        rest = self._inner(f"{pointer}/items", place) if "items" in schema else self._free(place)
        least, most = int(schema.get("minItems", 0)), schema.get("maxItems")
        counted = None
        if "contains" in schema and not place.shallow:
            counted = self._counted(pointer, schema, place)
        known = None if rest.is_empty() else rest
        elements = Elements(first, known, least, None if most is None else int(most), counted)
        if schema.get("uniqueItems") is True and not place.shallow and not (most is not None and most <= 1):
            return self._different(pointer, elements)
        return elements.expression()

    def _counted(self, pointer: str, schema: Mapping[str, Any], place: Place) -> Counted | None:
        """The elements that contains asks for, and how many there are to be."""
        least, most = int(schema.get("minContains", 1)), schema.get("maxContains")
        inner = f"{pointer}/contains"
        if most is None and not place.exact:
            # An element that fits need not be counted, so that nothing has to be known about the others.
            return Counted(self._inner(inner, place), None, least, None) if least else None
        for keyword in ("contains", "items"):
            if keyword in schema and any(map(self._document.names, self._all_below(f"{pointer}/{keyword}"))):
                raise refused(f"{pointer}/{keyword}", "objects cannot be counted beside maxContains or beneath a 'not'")
        wanted = self._inner(inner, place._replace(exact=True))
        return Counted(wanted, ~wanted, least, None if most is None else int(most))

    def _different(self, pointer: str, elements: Elements) -> Expression:
        """Arrays in which no element comes twice."""
        texts = elements.rest.members(_MOST_DIFFERENT) if elements.rest is not None and not elements.first else None
        if texts is None or elements.counted:
            raise refused(
                f"{pointer}/uniqueItems",
                "elements that must be different are supported only where items has a few values, and nothing else",
                f"give the items an enum of {_MOST_DIFFERENT} values or fewer",
            )
        most = len(texts) if elements.most is None else min(len(texts), elements.most)
        orders = (order for count in range(elements.least, most + 1) for order in itertools.permutations(texts, count))
        return _as_tree([list(order) for order in orders])

    def _objects(self, pointer: str, schema: Mapping[str, Any], place: Place) -> Expression:
        required = {*schema.get("required", ())}
        dependent = schema.get("dependentRequired", {})
        patterns = {
            pattern: self._matching(f"{pointer}/patternProperties/{escaped(pattern)}", pattern, place.exact)
            for pattern in schema.get("patternProperties", {})
        }
        allowed = self._allowed_names(pointer, schema, place)
        named = []
        for name in place.names:
            of_name = [f"{pointer}/properties/{escaped(name)}"] if name in schema.get("properties", {}) else []
            of_name += [
                f"{pointer}/patternProperties/{escaped(pattern)}"
                for pattern, names in patterns.items()
                if name in names
            ]
            if not of_name and "additionalProperties" in schema:
                of_name = [f"{pointer}/additionalProperties"]
            values = self._all([self._inner(one, place) for one in of_name])
            values = self._free(place) if values is None else values
            fits = (allowed is None or strings.written(name) in allowed) and not values.is_empty()
            named.append((name, values if fits else None, name in required))
        others = self._others(pointer, schema, place, patterns, allowed) if place.others else []
        least, most = int(schema.get("minProperties", 0)), schema.get("maxProperties")
        if others and (least > 1 or (place.exact and (least or most is not None))):
            keyword = "minProperties" if least else "maxProperties"
            raise refused(
                f"{pointer}/{keyword}", "properties without a name in the schema cannot be counted",
                "set additionalProperties to false",
            )  # fmt: skip
        objects = Properties(named, others, least, None if most is None else int(most)).expression()
        if not dependent:
            return objects
        # Where the first of the names is there, so are the others.
        languages = [self._language(objects)]
        for name, needed in dependent.items():
            for other in needed:
                missing = self._everything(place) - self._without(other, place)
                languages.append(self._without(name, place) | missing)
        return Within(combined(languages, "intersection", self._max_states))

    def _allowed_names(self, pointer: str, schema: Mapping[str, Any], place: Place) -> Language | None:
        if "propertyNames" not in schema:
            return None
        inner = self._at(f"{pointer}/propertyNames", place.depth, place.exact)
        return inner & strings.all_strings()

    def _others(
        self,
        pointer: str,
        schema: Mapping[str, Any],
        place: Place,
        patterns: Mapping[str, Language],
        allowed: Language | None,
    ) -> list[tuple[Language, Language]]:
        """Names that the place does not know, and their values: those that some patterns match, and no others."""
        if len(patterns) > _MOST_PATTERNS:
            raise refused(f"{pointer}/patternProperties", f"more than {_MOST_PATTERNS} patterns")
        if place.exact and (patterns or not isinstance(schema.get("additionalProperties", True), bool)):
            keyword = "patternProperties" if patterns else "additionalProperties"
            raise refused(f"{pointer}/{keyword}", "it is not supported beneath a 'not' or an 'if'")
        unknown = ~self._language(OneOf(tuple(map(literal, place.names))))
        found = []
        for count in range(len(patterns) + 1):
            for some in itertools.combinations(patterns, count):
                fitting = [names if pattern in some else ~names for pattern, names in patterns.items()]
                names = strings.quoted(combined([unknown, *fitting], "intersection", self._max_states))
                pointers = [f"{pointer}/patternProperties/{escaped(pattern)}" for pattern in some]
                if not some and "additionalProperties" in schema:
                    pointers = [f"{pointer}/additionalProperties"]
                values = self._all([self._inner(one, place) for one in pointers])
                names = names if allowed is None else names & allowed
                values = self._free(place) if values is None else values
                if not names.is_empty() and not values.is_empty():
                    found.append((names, values))
        return found

    def _inner(self, pointer: str, place: Place) -> Language:
        """The texts of a value inside of one at a place."""
        if place.shallow:
            # The scalars as they are, and any array or object in place of one.
            inner = self._at(pointer, place.depth, shallow=True)
            scalars = inner & self._language(OneOf(tuple(_scalars())))
            return scalars if (inner - scalars).is_empty() else scalars | _rough_containers()
        if place.exact and any(self._document.names(one) for one in self._all_below(pointer)):
            raise refused(pointer, "objects inside of objects or arrays are not supported beneath a 'not' or an 'if'")
        return self._at(pointer, place.depth, place.exact)

    def _all_below(self, pointer: str) -> Iterable[str]:
        """The pointer and those of all places inside of it."""
        seen: set[str] = set()
        waiting = [pointer]
        while waiting:
            here = waiting.pop()
            if here not in seen:
                seen.add(here)
                yield here
                waiting += [below for at in self._document.in_place(here) for below in self._document.below(at)]

    def _exactly_one(
        self, pointer: str, schema: Mapping[str, Any], place: Place, path: tuple[str, ...]
    ) -> Language | None:
        inner = [f"{pointer}/oneOf/{number}" for number in range(len(schema["oneOf"]))]
        found = [self._in_place(one, place, path) for one in inner]
        if place.shallow or len(inner) == 1:
            return self._any(found)
        if not place.exact and self._exclude_each_other(
            inner, self._own(pointer, schema, _roughly(place)), place, path
        ):
            return self._any(found)
        everything = self._everything(place)
        exact = [self._filled(self._in_place(one, place._replace(exact=True), path), place) for one in inner]
        alone = []
        for number, language in enumerate(exact):
            others = [everything - other for at, other in enumerate(exact) if at != number]
            alone.append(combined([language, *others], "intersection", self._max_states))
        return combined(alone, "union", self._max_states)

    def _exclude_each_other(
        self, pointers: Sequence[str], around: Language | None, place: Place, path: tuple[str, ...]
    ) -> bool:
        """Whether no value fits two schemas, even with anything for values inside of it. around: what else it fits."""
        rough = [self._all([self._in_place(one, _roughly(place), path), around]) for one in pointers]
        texts = [self._filled(language, _roughly(place)) for language in rough]
        return all((first & second).is_empty() for first, second in itertools.combinations(texts, 2))

    def _opposite(self, pointer: str, place: Place, path: tuple[str, ...]) -> Language:
        if place.shallow:
            return self._everything(place)
        inner = self._in_place(pointer, place._replace(exact=True), path)
        return language_of(OneOf(())) if inner is None else self._everything(place) - inner

    def _conditional(
        self, pointer: str, schema: Mapping[str, Any], place: Place, path: tuple[str, ...]
    ) -> Language | None:
        if place.shallow:
            return None
        condition = self._filled(self._in_place(f"{pointer}/if", place._replace(exact=True), path), place)
        then = self._in_place(f"{pointer}/then", place, path) if "then" in schema else None
        otherwise = self._in_place(f"{pointer}/else", place, path) if "else" in schema else None
        kept = self._all([condition, then])
        broken = self._all([self._everything(place) - condition, otherwise])
        return self._any([kept, broken])

    def _without(self, name: str, place: Place) -> Language:
        """The values of a place that are no objects, or have no property of a name."""
        return self._everything(place, without=name)

    def _everything(self, place: Place, without: str | None = None) -> Language:
        """The texts of all values of a place."""
        inner = self._free(place)
        named = [(name, None if name == without else inner, False) for name in place.names]
        unknown = ~self._language(OneOf(tuple(map(literal, place.names))))
        others = [(strings.quoted(unknown), inner)] if place.others else []
        return self._language(
            OneOf((*_scalars(), Elements([], inner).expression(), Properties(named, others).expression()))
        )

    def _free(self, place: Place) -> Language:
        """The texts of a value inside of one at a place, about which nothing is said."""
        if place.shallow:
            return _rough_values()
        return _any_value(self._depth - 1, self._max_states)

    def _filled(self, language: Language | None, place: Place) -> Language:
        return self._everything(place) if language is None else language

    def _all(self, languages: Sequence[Language | None]) -> Language | None:
        some = [language for language in languages if language is not None]
        return combined(some, "intersection", self._max_states) if len(some) > 1 else some[0] if some else None

    def _any(self, languages: Sequence[Language | None]) -> Language | None:
        some = [language for language in languages if language is not None]
        return combined(some, "union", self._max_states) if some and len(some) == len(languages) else None

    def _language(self, expression: Expression) -> Language:
        return language_of(expression, self._max_states, "the JSON schema")


@lru_cache(maxsize=8)
def _any_value(depth: int, max_states: int) -> Language:
    """The texts of all values that are nested so often."""
    parts = _scalars()
    if depth > 0:
        inner = _any_value(depth - 1, max_states)
        parts.append(Elements([], inner).expression())
        parts.append(Properties([], [(strings.all_strings(), inner)]).expression())
    return language_of(OneOf(tuple(parts)), max_states, "JSON of any kind")


@lru_cache(maxsize=1)
def _rough_containers() -> Language:
    """More than the texts of all arrays and objects: runs of strings and of what stands outside of strings."""
    outside = Characters(~CharacterSet.of('"'))
    inner = Repeat(OneOf((Within(strings.all_strings()), outside)))
    brackets = [InTurn((literal(first), inner, literal(last))) for first, last in ("[]", "{}")]
    return language_of(OneOf(tuple(brackets)))


@lru_cache(maxsize=1)
def _rough_values() -> Language:
    """More than the texts of all values."""
    return language_of(OneOf((*_scalars(), Within(_rough_containers()))))


def _scalars() -> list[Expression]:
    fixed = [literal(text) for text in ("null", "true", "false")]
    return [*fixed, Within(numbers.numbers()), Within(strings.all_strings())]


def _characters(least: int, most: int | None) -> Expression:
    return Repeat(Characters(EVERY), least, most)


def _texts(value: Any, names: Sequence[str], pointer: str) -> Expression:
    """The texts of a constant: where its properties have names at the place in their order, else in every order."""
    if isinstance(value, str):
        return literal(strings.written(value))
    if value is None or isinstance(value, bool):
        return literal({None: "null", True: "true", False: "false"}[value])
    if isinstance(value, (int, Decimal)):
        return literal(numbers.spelled(value))
    if isinstance(value, Sequence):
        parts = [_texts(one, (), pointer) for one in value]
        between = [part for one in parts for part in (literal(","), one)][1:]
        return InTurn((literal("["), *between, literal("]")))
    known = [name for name in names if name in value]
    unknown = [name for name in value if name not in names]
    orders = list(itertools.islice(itertools.permutations(unknown), _MOST_ORDERS + 1))
    if len(orders) > _MOST_ORDERS:
        raise refused(pointer, "an object inside of a value has too many properties")
    pairs = {name: InTurn((literal(f"{strings.written(name)}:"), _texts(value[name], (), pointer))) for name in value}
    written = []
    for order in orders:
        between = [part for name in (*known, *order) for part in (literal(","), pairs[name])][1:]
        written.append(InTurn((literal("{"), *between, literal("}"))))
    return OneOf(tuple(written))


def _roughly(place: Place) -> Place:
    return place._replace(shallow=True, exact=False)


def _has_inner_names(value: Any) -> bool:
    """Whether there is an object inside of a value."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(isinstance(one, Mapping) or _has_inner_names(one) for one in inner)


def _as_tree(orders: list[list[str]]) -> Expression:
    """Arrays of some texts, those that begin alike together."""
    return InTurn((literal("["), _rest(orders, first=True), literal("]")))


def _rest(orders: list[list[str]], *, first: bool) -> Expression:
    following: dict[str, list[list[str]]] = {}
    for order in orders:
        if order:
            following.setdefault(order[0], []).append(order[1:])
    comma = literal("") if first else literal(",")
    parts: list[Expression] = [literal("")] if [] in orders else []
    parts += [InTurn((comma, literal(text), _rest(rest, first=False))) for text, rest in following.items()]
    return OneOf(tuple(parts))
