"""A constraint, and the call that a visitor made, as Python to copy."""

from __future__ import annotations

import dataclasses
from typing import Any

from ctrlg.constraints import AllOf, AnyOf, Constraint, Not

EMBEDDED = "Generator.default()"
_OPERATORS: dict[type, str] = {AllOf: " & ", AnyOf: " | "}


def expression(constraint: Constraint) -> str:
    """Python that makes the constraint: `Keywords([["dog"]], inflect=True) & WordCount(6, 12)`."""
    if _by_operator(constraint):
        return _OPERATORS[type(constraint)].join(map(_operand, _inside(constraint)))
    if _inverted(constraint):
        return f"~{_operand(_inside(constraint)[0])}"
    return _call(constraint)


def names(constraint: Constraint) -> set[str]:
    """The classes that `expression` names."""
    own = set() if _by_operator(constraint) or _inverted(constraint) else {type(constraint).__name__}
    return own.union(*map(names, _inside(constraint)))


def call(constraint: Constraint, settings: dict[str, Any], generator: str = EMBEDDED) -> str:
    """A whole program: imports, the generator, and the call with its settings.

    generator: Python that makes it; `of_models` writes it for other models than the embedded default.
    """
    imported = sorted(names(constraint))
    plain = [name for name in imported if name not in ("AllOf", "AnyOf", "Not")]
    others = [name for name in imported if name not in plain]
    lines = ["from ctrlg import " + ", ".join(["Generator", *plain])]
    if others:
        lines.append("from ctrlg.constraints import " + ", ".join(others))
    if "load_" in generator:
        lines.append("from ctrlg.loading import load_hmm, load_language_model")
    given = "".join(f", {name}={value!r}" for name, value in settings.items())
    lines += [
        "",
        f"generator = {generator}",
        f"constraint = {expression(constraint)}",
        f"for result in generator(constraint{given}):",
        "    print(result.text)",
    ]
    return "\n".join(lines)


def of_models(model: str, hmm: str | None) -> str:
    """Python that makes the generator of a language model and an HMM (None: the model's own; "none": no HMM)."""
    if model == "default" and hmm in (None, model):
        return EMBEDDED
    if model == "instruct" and hmm in (None, model):
        return f"Generator.default({model!r})"
    guide = "None" if hmm == "none" else f"load_hmm({hmm or 'default'!r})"
    return f"Generator(*load_language_model({model!r}), {guide})"


def _inside(constraint: Constraint) -> list[Constraint]:
    found: list[Constraint] = []
    for field in dataclasses.fields(constraint):  # type: ignore[arg-type]
        value = getattr(constraint, field.name)
        found += [one for one in (value if isinstance(value, tuple) else [value]) if isinstance(one, Constraint)]
    return found


def _by_operator(constraint: Constraint) -> bool:
    return type(constraint) in _OPERATORS and len(_inside(constraint)) > 1


def _inverted(constraint: Constraint) -> bool:
    """Whether `~` makes it; of two, one after the other, the second would take the first away."""
    return isinstance(constraint, Not) and not isinstance(constraint.constraint, Not)


def _operand(constraint: Constraint) -> str:
    return f"({expression(constraint)})" if _by_operator(constraint) else expression(constraint)


def _call(constraint: Constraint) -> str:
    """The class with its arguments, without those that have their default; what is True or False is named."""
    arguments: list[str] = []
    by_place = True
    for field in dataclasses.fields(constraint):  # type: ignore[arg-type]
        if not field.init:
            continue
        value = getattr(constraint, field.name)
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        by_place = by_place and (needed or (value != field.default and not isinstance(value, bool)))
        if by_place:
            arguments.append(_value(value))
        elif needed or value != field.default:
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
