"""A constraint, and the call that a visitor made, as Python to copy."""

from __future__ import annotations

import dataclasses
from typing import Any

from ctrlg.constraints import AllOf, AnyOf, Constraint, Not

_OPERATORS = {AllOf: " & ", AnyOf: " | "}


def expression(constraint: Constraint) -> str:
    """Python that makes the constraint: `Keywords([["dog"]], inflect=True) & WordCount(6, 12)`."""
    operator = _OPERATORS.get(type(constraint))
    if operator is not None and len(constraint.constraints) > 1:  # type: ignore[attr-defined]
        return operator.join(map(_operand, constraint.constraints))  # type: ignore[attr-defined]
    if isinstance(constraint, Not) and not isinstance(constraint.constraint, Not):
        return f"~{_operand(constraint.constraint)}"
    return _call(constraint)


def names(constraint: Constraint) -> set[str]:
    """The classes that `expression` names."""
    inside = _inside(constraint)
    own = {type(constraint).__name__} if expression(constraint).startswith(f"{type(constraint).__name__}(") else set()
    return own.union(*map(names, inside))


def call(constraint: Constraint, settings: dict[str, Any], pair: str) -> str:
    """A whole program: imports, the generator of an embedded pair, the call with its settings."""
    imported = sorted(names(constraint))
    plain = [name for name in imported if name not in ("AllOf", "AnyOf", "Not")]
    others = [name for name in imported if name not in plain]
    lines = ["from ctrlg import " + ", ".join(["Generator", *plain])]
    if others:
        lines.append("from ctrlg.constraints import " + ", ".join(others))
    given = "".join(f", {name}={value!r}" for name, value in settings.items())
    lines += [
        "",
        f"generator = Generator.default({'' if pair == 'default' else repr(pair)})",
        f"constraint = {expression(constraint)}",
        f"for result in generator(constraint{given}):",
        "    print(result.text)",
    ]
    return "\n".join(lines)


def _inside(constraint: Constraint) -> list[Constraint]:
    found: list[Constraint] = []
    for field in dataclasses.fields(constraint):  # type: ignore[arg-type]
        value = getattr(constraint, field.name)
        found += [one for one in (value if isinstance(value, tuple) else [value]) if isinstance(one, Constraint)]
    return found


def _operand(constraint: Constraint) -> str:
    written = expression(constraint)
    bracketed = type(constraint) in _OPERATORS and not written.startswith(type(constraint).__name__)
    return f"({written})" if bracketed else written


def _call(constraint: Constraint) -> str:
    """The class with its arguments: those without a default by place, others by name where they differ from it."""
    arguments = []
    for field in dataclasses.fields(constraint):  # type: ignore[arg-type]
        if not field.init:
            continue
        value = getattr(constraint, field.name)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            arguments.append(_value(value))
        elif value != field.default:
            arguments.append(f"{field.name}={_value(value)}")
    return f"{type(constraint).__name__}({', '.join(arguments)})"


def _value(value: Any) -> str:
    if isinstance(value, Constraint):
        return expression(value)
    if isinstance(value, tuple) and any(isinstance(one, Constraint) for one in value):
        return f"({', '.join(map(_value, value))},)"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
