"""Constraints as dictionaries of plain values, for JSON files, forms and requests, and back.

    {"kind": "Keywords", "groups": [["dog"], ["park", "beach"]], "inflect": true, "whole_word": true}

A dictionary holds the name of the class and its fields; constraints inside of constraints are dictionaries themselves.
Every public subclass of `Constraint` that is a dataclass takes part, with nothing to write: `__init_subclass__` enters
it by its name. What comes back is checked completely, since it may come from a stranger.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

from ctrlg.arguments import shown
from ctrlg.errors import ArgumentError, ConstraintError

D = TypeVar("D", bound="DictionaryForm")

MOST_LEVELS = 100
"""Of constraints in constraints, which Python's stack has room for; a chain of & or of | is one level."""

_MOST_VALUES = 100_000  # in one dictionary, which is far more than an automaton can be built for
_MOST_CHARACTERS = 1_000_000  # in all of its texts together
_MOST_DEPTH = 3 * MOST_LEVELS  # of lists and dictionaries; a level of constraints is a dictionary and a list
_PLAIN_VALUES = "texts, finite numbers, True, False, None, lists and dictionaries of these"
_KIND = "kind"
_ROOT = "constraint"  # the path of the outermost dictionary, in errors
_CLASSES: dict[str, type[DictionaryForm]] = {}


class DictionaryForm:
    """What constraints inherit to be written as dictionaries: `to_dict` and `from_dict`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        known = _CLASSES.get(cls.__name__)
        # A class that is defined anew (a cell of a notebook that is run again) replaces itself, never another one.
        if not cls.__name__.startswith("_") and (known is None or _full_name(known) == _full_name(cls)):
            _CLASSES[cls.__name__] = cls

    def to_dict(self) -> dict[str, Any]:
        """The constraint as plain values: texts, numbers, True, False, None, lists and dictionaries.

        Returns:
            {"kind": the class's name, and every field by its name}; `json.dumps` writes it, `Constraint.from_dict`
            reads it.

        Raises:
            ConstraintError: a constraint of a class of your own that is no dataclass, shares its name with another, or
                has a field that is not made of plain values.
        """
        name = type(self).__name__
        if _CLASSES.get(name) is not type(self):
            raise ConstraintError(
                f"{name} is not known as a kind of constraint",
                hint="a name of its own, which does not begin with an underscore",
            )
        fields = {field.name: getattr(self, field.name) for field in _fields(type(self))}
        return {_KIND: name, **{field: _plain(f"{name}.{field}", value) for field, value in fields.items()}}

    @classmethod
    def from_dict(cls: type[D], mapping: Mapping[str, Any]) -> D:
        """The constraint that a dictionary describes, as `to_dict` made it or written by hand.

        Args:
            mapping: {"kind": "WordCount", "lo": 6, "hi": 12}; fields that have a default may be left out.

        Returns:
            The constraint; `Constraint.from_dict(constraint.to_dict()) == constraint`.

        Raises:
            ConstraintError: an unknown kind, an unknown or missing field, a value of the wrong type, too many levels or
                values; the error says where, as "constraint.constraints[1].lo".
        """
        _measure(mapping)
        found = _constraint(_ROOT, mapping, 0)
        if not isinstance(found, cls):
            wanted = ", ".join(sorted(name for name, kind in _CLASSES.items() if issubclass(kind, cls)))
            raise ConstraintError(f"{_ROOT}.{_KIND} is {type(found).__name__!r}", hint=f"here: {wanted}")
        return found


def kinds() -> tuple[str, ...]:
    """The names of all kinds of constraints that are loaded."""
    return tuple(sorted(name for name, kind in _CLASSES.items() if dataclasses.is_dataclass(kind)))


class _Field(NamedTuple):
    """A field of a constraint: its name, whether it may be left out, and whether it holds constraints."""

    name: str
    optional: bool
    nested: bool


@lru_cache(maxsize=256)
def _fields(kind: type[DictionaryForm]) -> tuple[_Field, ...]:
    if not dataclasses.is_dataclass(kind):
        raise ConstraintError(f"{kind.__name__} is no dataclass", hint="put @dataclass(frozen=True) on the class")
    hints = get_type_hints(kind)
    missing = dataclasses.MISSING
    fields = tuple(
        _Field(
            field.name,
            field.default is not missing or field.default_factory is not missing,
            _holds_constraints(hints[field.name]),
        )
        for field in dataclasses.fields(kind)
        if field.init
    )
    if any(field.name == _KIND for field in fields):
        raise ConstraintError(f"{kind.__name__} has a field {_KIND!r}", hint="that name says which constraint it is")
    return fields


def _holds_constraints(hint: Any) -> bool:
    """Whether an annotation names constraints: `Constraint`, `tuple[Constraint, ...]`, `Constraint | None` ..."""
    if isinstance(hint, type) and issubclass(hint, DictionaryForm):
        return True
    return any(map(_holds_constraints, get_args(hint)))


def _plain(path: str, value: Any) -> Any:
    if isinstance(value, DictionaryForm):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [_plain(f"{path}[{place}]", element) for place, element in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(f"{path}[{key!r}]", element) for key, element in value.items()}
    if _is_plain(value):
        return value
    raise ConstraintError(f"{path} is {shown(value)}", hint=_PLAIN_VALUES)


def _constraint(path: str, value: Any, level: int) -> DictionaryForm:
    """The constraint at a path. level: how many constraints it is inside of."""
    if not isinstance(value, Mapping):
        raise ConstraintError(f"{path} is {shown(value)}", hint='a dictionary, as {"kind": "WordCount", "lo": 6}')
    if level > MOST_LEVELS:
        raise ConstraintError(
            f"{_short(path, 80)}: constraints inside of constraints, more than {MOST_LEVELS} levels deep",
            hint="write it with fewer levels; AllOf and AnyOf hold any number of constraints",
        )
    kind = _kind_of(path, value)
    arguments: dict[str, Any] = {}
    fields = {field.name: field for field in _fields(kind)}
    for name in value:
        if name != _KIND and name not in fields:
            known = ", ".join(fields) or "none"
            raise ConstraintError(f"{path}: {kind.__name__} has no field {shown(name)}", hint=f"its fields: {known}")
    for name, field in fields.items():
        if name in value:
            inside = f"{path}.{name}"
            arguments[name] = _nested(inside, value[name], level + 1) if field.nested else value[name]
        elif not field.optional:
            raise ConstraintError(f"{path}: {kind.__name__} lacks its field {name!r}", hint=f"add {name!r}")
    return _built(path, kind, arguments)


def _nested(path: str, value: Any, level: int) -> Any:
    """The value of a field that holds constraints; what is neither a list nor None must be one."""
    if isinstance(value, (list, tuple)):
        return [_constraint(f"{path}[{place}]", element, level) for place, element in enumerate(value)]
    return None if value is None else _constraint(path, value, level)


def _kind_of(path: str, value: Mapping[str, Any]) -> type[DictionaryForm]:
    if _KIND not in value:
        raise ConstraintError(f"{path} has no {_KIND!r}", hint=f"one of {', '.join(kinds())}")
    name = value[_KIND]
    if isinstance(name, str) and name[:1].isupper() and name not in _CLASSES:
        # Rooms above this one may have constraints of their own, which `ctrlg` loads when they are first used.
        package = importlib.import_module("ctrlg")
        if name in package.__all__:
            getattr(package, name)
    if not isinstance(name, str) or name not in kinds():
        raise ConstraintError(f"{path}.{_KIND} is {shown(name)}", hint=f"one of {', '.join(kinds())}")
    return _CLASSES[name]


def _built(path: str, kind: type[DictionaryForm], arguments: Mapping[str, Any]) -> DictionaryForm:
    """The constraint of some fields; what its class refuses is told with the path."""
    try:
        return kind(**arguments)
    except (ArgumentError, ConstraintError) as error:
        said = error.message.removeprefix(f"{kind.__name__}: ")
        joint = "." if said.startswith(tuple(arguments)) else ": "
        error_type = type(error) if isinstance(error, ConstraintError) else ConstraintError
        raise error_type(f"{path}{joint}{said}", hint=error.hint.partition("; the order is")[0]) from error
    except (TypeError, ValueError, AttributeError) as error:  # of a class that does not check its fields
        raise ConstraintError(f"{path}: {error}", hint=f"look at the fields of {kind.__name__}") from error


def _measure(mapping: Any) -> None:
    """ConstraintError for what is not made of plain values, or of too many; without recursion, so for any depth."""
    values, characters = 0, 0
    waiting: list[tuple[str, int, Any]] = [(_ROOT, 0, mapping)]
    while waiting:
        path, depth, value = waiting.pop()
        values += 1
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    raise ConstraintError(f"{path} has the key {shown(key)}", hint="keys are texts")
            waiting += [(f"{path}.{_short(key)}", depth + 1, element) for key, element in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [(f"{path}[{place}]", depth + 1, element) for place, element in enumerate(value)]
        elif isinstance(value, str):
            characters += len(value)
        elif not _is_plain(value):
            raise ConstraintError(f"{path} is {shown(value)}", hint=_PLAIN_VALUES)
        if depth > _MOST_DEPTH:
            raise ConstraintError(
                f"{_short(path, 80)}: values inside of values, more than {_MOST_DEPTH} levels deep",
                hint="write it with fewer levels; AllOf and AnyOf hold any number of constraints",
            )
        if values + len(waiting) > _MOST_VALUES or characters > _MOST_CHARACTERS:
            raise ConstraintError(
                f"{_ROOT} has more than {_MOST_VALUES:,} values, or texts of more than {_MOST_CHARACTERS:,} characters",
                hint="no automaton can be built for so much; leave some of it out",
            )


def _is_plain(value: Any) -> bool:
    """Whether JSON has the value, which is no list or dictionary."""
    return value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def _short(name: str, most: int = 40) -> str:
    return name if len(name) <= most else f"{name[:most]}..."


def _full_name(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__
