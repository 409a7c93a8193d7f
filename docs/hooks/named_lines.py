"""Docstrings with lines `name: meaning` as lists, for the API pages.

Where a docstring describes its arguments or fields in such lines, without a section `Args:`, they become items of a list;
lines with a deeper indent go on with the item. Docstrings in Google style stay as they are.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Class, Extension, Function, Object

_ITEM = re.compile(r"^([A-Za-z_]\w*(?:, [A-Za-z_]\w*)*): (.*)$")


class NamedLines(Extension):
    """The extension that mkdocs.yml names."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of a function, a class or an attribute."""
        if obj.docstring is not None:
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
    """`text` with lines `name: meaning` of the given names as items of a Markdown list."""
    lines: list[str] = []
    in_item = False
    for line in text.splitlines():
        match = _ITEM.match(line)
        if match and names.issuperset(match[1].split(", ")):
            if not in_item and lines and lines[-1].strip():
                lines.append("")
            shown = ", ".join(f"`{name}`" for name in match[1].split(", "))
            lines.append(f"- {shown}: {match[2]}")
            in_item = True
        elif in_item and line.startswith(" "):
            lines.append("    " + line.strip())
        else:
            if in_item and line.strip():
                lines.append("")
            in_item = False
            lines.append(line)
    return "\n".join(lines)
