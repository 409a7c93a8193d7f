"""List the studies, each with the question it asks; `python -m studies`."""

from __future__ import annotations

import ast
from pathlib import Path

from ctrlg.terminal.console import as_program, say


def questions() -> dict[str, str]:
    """The first line of each program's docstring by the program's name; nothing is imported."""
    folder = Path(__file__).parent
    found = {}
    for path in sorted(folder.glob("*/*.py")):
        text = path.read_text(encoding="utf-8")
        if '\nif __name__ == "__main__":\n' in text:
            docstring = ast.get_docstring(ast.parse(text)) or ""
            found[f"studies.{path.parent.name}.{path.stem}"] = docstring.partition("\n")[0]
    return found


if __name__ == "__main__":
    with as_program():
        for name, question in questions().items():
            say(f"python -m {name}\n    {question}")
