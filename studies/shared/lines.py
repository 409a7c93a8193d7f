"""Lines of results: in groups, as cells of tables, and as what is said when one is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ctrlg.files.records import markdown_rows, mean_and_deviation

Key = tuple[Any, ...]
Line = Mapping[str, Any]


def grouped(lines: Iterable[Line], *names: str) -> dict[Key, list[Line]]:
    """Lines with the same values in these columns together, in the order in which they come first."""
    groups: dict[Key, list[Line]] = {}
    for line in lines:
        groups.setdefault(tuple(line[name] for name in names), []).append(line)
    return groups


def kept(lines: Sequence[Line]) -> str:
    """ "19/20": how many of the sentences keep their constraint."""
    return f"{sum(line['kept'] for line in lines)}/{len(lines)}"


def table_of(rows: Sequence[Mapping[str, object]]) -> str:
    """A Markdown table of rows that have the same columns, by name; "" of no rows."""
    return markdown_rows([list(rows[0]), *(list(row.values()) for row in rows)]) if rows else ""


def pivot(lines: Sequence[Line], rows: Sequence[str], column: str, value: str, unit: str = "") -> str:
    """A Markdown table of one value: its mean and standard deviation over the lines of a cell, "" where none is."""
    columns = dict.fromkeys(line[column] for line in lines)
    return table_of(
        [
            dict(zip(rows, names, strict=True))
            | {
                f"{'at the end' if place is None else place}{unit}": mean_and_deviation(cell) if cell else ""
                for place in columns
                for cell in [[line[value] for line in mine if line[column] == place]]
            }
            for names, mine in grouped(lines, *rows).items()
        ]
    )


def shown(values: Iterable[object]) -> str:
    """Some values on a line."""
    return ", ".join(map(str, values))


def numbers(line: Line, but: Sequence[str]) -> list[str]:
    """The numbers of a line by name, to look at, without those that tell it apart."""
    found = {name: value for name, value in line.items() if name not in but and isinstance(value, (int, float))}
    return [f"{name.replace('_', ' ')} {value:.5g}" for name, value in found.items()]
