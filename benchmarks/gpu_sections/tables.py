"""The results as a plain table of at most 110 columns, and as Markdown for docs/gpu.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

WIDTH = 110
TITLES = {
    "ceilings": "What the card can do",
    "kernels": "Kernels: share of the floor",
    "decoding": "Decoding step and precomputation",
    "share": "Share of a decoder's step",
    "width": "Cost of a step by width",
    "em": "EM step",
    "tune": "Shapes of the kernels",
}


def plain(content: dict[str, Any]) -> list[str]:
    """Lines of the whole table."""
    lines = [_environment(content)[:WIDTH]]
    header = _columns("measured", "value", "goal", "met", "note")
    for section, state in content["sections"].items():
        seconds = f", {state['seconds']:.0f} s" if "seconds" in state else ""
        lines += ["", f"{TITLES.get(section, section)} ({state['status']}{seconds})", header]
        lines += [
            _columns(row["what"], _value(row), row["goal"], _met(row), row["note"]) for row in _rows(content, section)
        ]
        if state.get("error"):
            lines.append(f"{state['status'].upper()}: {state['error']}"[:WIDTH])
    judged = [row["met"] for row in content["rows"] if row["met"] is not None]
    return [*lines, "", f"goals met: {sum(judged)} of {len(judged)}"]


def markdown(content: dict[str, Any]) -> list[str]:
    """The same for the documentation: a table a section."""
    lines = [_environment(content)]
    for section, state in content["sections"].items():
        lines += ["", f"## {TITLES.get(section, section)}", ""]
        if state["status"] != "done":
            error = f": {state['error']}" if state.get("error") else ""
            lines += [f"This section is incomplete ({state['status']}{error}).", ""]
        lines += ["| measured | value | goal | met | note |", "|---|---:|---:|---|---|"]
        for row in _rows(content, section):
            cells = (row["what"], _value(row), row["goal"], _met(row), row["note"])
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _rows(content: dict[str, Any], section: str) -> Iterator[dict[str, Any]]:
    return (row for row in content["rows"] if row["section"] == section)


def _environment(content: dict[str, Any]) -> str:
    found = content["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in found.get("packages", {}).items() if version)
    return f"{found.get('card')}, CUDA {found.get('cuda')}, {packages}; {found.get('date')}, {found.get('revision')}"


def _columns(what: str, value: str, goal: str, met: str, note: str) -> str:
    return f"{what:36s} {value:>12s} {goal:>8s} {met:>3s}  {note}"[:WIDTH].rstrip()


def _met(row: dict[str, Any]) -> str:
    return {True: "yes", False: "no", None: ""}[row["met"]]


def _value(row: dict[str, Any]) -> str:
    value, unit = row["value"], row["unit"]
    if value is None:
        return "none"
    if unit == "share":
        return f"{value:.1%}"
    digits = 0 if value == int(value) else 3 if value < 10 else 1
    return f"{value:.{digits}f} {unit}"
