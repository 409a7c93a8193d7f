"""Docstrings with lines `name: meaning` as lists, for the API pages.

Where a docstring describes its arguments or fields in such lines, without a section `Args:`, they become items of a
list. Lines with a deeper indent, and those below a line that does not end a sentence, go on with the item. Docstrings
in Google style stay as they are, and methods that say no more than "See Base." are left to the page of their base.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from griffe import Class, Extension, Function, Object

_ITEM = re.compile(r"^([A-Za-z_]\w*(?:, [A-Za-z_]\w*)*): (.*)$")
_SECOND_ITEM = re.compile(r"(?<=[.;]) (?=[A-Za-z_]\w*(?:, [A-Za-z_]\w*)*: )")
_ELSEWHERE = re.compile(r"See \w+\.")


class NamedLines(Extension):
    """The extension that mkdocs.yml names."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of a function, a class or an attribute."""
        if obj.docstring is None:
            return
        if _ELSEWHERE.fullmatch(obj.docstring.value):
            obj.docstring = None
        else:
            obj.docstring.value = listed(obj.docstring.value, names_of(obj))


def names_of(obj: Object) -> set[str]:
    """What a line may begin with: parameters and members."""
    names = set(obj.members)
    if isinstance(obj, Class):
        init = obj.members.get("__init__")
        names |= {parameter.name for parameter in getattr(init, "parameters", ())}
    if isinstance(obj, Function):
        names |= {parameter.name.lstrip("*") for parameter in obj.parameters}
    return names


def listed(text: str, names: set[str]) -> str:
    """`text` with lines `name: meaning` of the given names as items of a Markdown list; the first line is none."""
    first, *others = text.splitlines()
    lines = [first]
    in_item = False
    for line in _one_item_a_line(others, names):
        match = _named(line, names)
        if match:
            if not in_item and lines[-1].strip():
                lines.append("")
            shown = ", ".join(f"`{name}`" for name in match[1].split(", "))
            lines.append(f"- {shown}: {match[2]}")
            in_item = True
        elif in_item and line and (line[0] == " " or lines[-1][-1] not in ".:"):
            lines.append("    " + line.strip())
        else:
            if lines[-1].strip() and ((in_item and line.strip()) or line.startswith("Raises ")):
                lines.append("")
            in_item = False
            lines.append(line)
    return "\n".join(lines)


def _named(line: str, names: set[str]) -> re.Match[str] | None:
    match = _ITEM.match(line)
    return match if match and names.issuperset(match[1].split(", ")) else None


def _one_item_a_line(lines: list[str], names: set[str]) -> Iterator[str]:
    """The lines; one that describes several names, in a sentence each, is several."""
    for line in lines:
        start = 0
        for gap in _SECOND_ITEM.finditer(line):
            if _named(line, names) and _named(line[gap.end() :], names):
                yield line[start : gap.start()]
                start = gap.end()
        yield line[start:]
