"""Results set by set against those of one row: differences have far less spread than scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ctrlg.errors import DataError
from ctrlg.evaluation.metrics.scores import Score, mean_score
from ctrlg.evaluation.tables import group_of
from ctrlg.files.records import markdown_rows


class Paired(NamedTuple):
    """A row against the reference, on the concept sets that both have.

    Attributes:
        method: of the row.
        bits: of the row.
        mask: of the row.
        sets: how many.
        same: of them with the same first sentence.
        gained: log-probability per token, in nats, more than the reference has.
    """

    method: str
    bits: int | None
    mask: str | None
    sets: int
    same: int
    gained: Score


def paired_rows(lines: Sequence[Mapping[str, Any]], reference: str, name: str = "results") -> list[Paired]:
    """Every row but the reference that shares concept sets with it, in order of first lines.

    Args:
        lines: of the benchmark's output, all with "log_prob".
        reference: "float32", "norm-q:8", ...; under the hard mask where it has been written under both.
        name: as for `rows_of`.

    Raises:
        DataError: there is no such row.
    """
    groups: dict[tuple[Any, Any, Any], dict[tuple[Any, Any], Mapping[str, Any]]] = defaultdict(dict)
    for line in lines:
        groups[group_of(line, name)][line.get("seed"), line["concept_set_idx"]] = line
    method, _, bits = reference.partition(":")
    found = [key for key in groups if key[0] == method and bits in ("", str(key[1]))]
    if not found:
        known = ", ".join(dict.fromkeys(f"{key[0]}:{key[1]}" for key in groups))
        raise DataError(f"no row is {reference!r}", hint=f"one of {known}")
    chosen = min(found, key=lambda key: key[2] != "hard")
    return [
        _paired(key, members, groups[chosen])
        for key, members in groups.items()
        if key != chosen and members.keys() & groups[chosen].keys()
    ]


def _paired(
    key: tuple[Any, Any, Any],
    members: Mapping[tuple[Any, Any], Mapping[str, Any]],
    reference: Mapping[tuple[Any, Any], Mapping[str, Any]],
) -> Paired:
    common = [place for place in members if place in reference]
    same = sum(members[place]["sentences"][:1] == reference[place]["sentences"][:1] for place in common)
    gained = [members[place]["log_prob"] - reference[place]["log_prob"] for place in common]
    return Paired(*key, len(common), same, mean_score(gained, [number for _, number in common]))


def paired_markdown(rows: Sequence[Paired], reference: str) -> str:
    """The rows as a Markdown table.

    Args:
        rows: of `paired_rows`.
        reference: its name.
    """
    head = ["method", "bits", "mask", "sets", f"same sentence as {reference}", "log-probability gained"]
    cells = [[row.method, row.bits, row.mask, row.sets, row.same, f"{row.gained}"] for row in rows]
    return markdown_rows([head, *cells])
