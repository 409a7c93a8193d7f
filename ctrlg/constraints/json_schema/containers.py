"""Arrays and objects: what stands between their brackets, as paths through a graph of elements and commas."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import NamedTuple

from ctrlg.constraints.json_schema.strings import written
from ctrlg.regular import NOTHING, Expression, Graph, Language, Sequence, Within, literal

Edge = tuple[int, Expression, int]


class Counted(NamedTuple):
    """Elements of an array that are counted.

    wanted: their language. others: the language of those that are not counted; None where it does not matter whether
    one is. least, most: how many; None sets no upper limit.
    """

    wanted: Language
    others: Language | None
    least: int
    most: int | None


@dataclass(frozen=True)
class Elements:
    """The elements of an array.

    Args:
        first: languages of the first elements.
        rest: language of all others; None where there are no others.
        least, most: how many elements; None sets no upper limit.
        counted: elements that are counted by themselves.
    """

    first: Several[Language]
    rest: Language | None
    least: int = 0
    most: int | None = None
    counted: Counted | None = None

    def expression(self) -> Expression:
        """The arrays."""
        # A node is how many elements there are, and how many of the counted ones: each up to a number from which on
        # more change nothing. Node (places, count) has the number places * width + count.
        places = max(len(self.first), self.least, 1 if self.most is None else self.most)
        counted = self.counted
        least_counted, most_counted = (counted.least, counted.most) if counted else (0, None)
        width = (least_counted if most_counted is None else max(most_counted, least_counted) + 1) + 1
        edges: list[Edge] = []
        for place in range(places + (self.most is None)):
            language = self.first[place] if place < len(self.first) else self.rest
            if language is None:
                break
            after = min(place + 1, places)
            comma = literal(",") if place else NOTHING
            for count in range(width):
                here = place * width + count
                if counted:
                    more = after * width + min(count + 1, width - 1)
                    edges.append((here, Sequence((comma, Within(language & counted.wanted))), more))
                others = language & counted.others if counted and counted.others is not None else language
                edges.append((here, Sequence((comma, Within(others))), after * width + count))
        last = [
            place * width + count
            for place in range(self.least, places + 1)
            for count in range(width)
            if count >= least_counted and (most_counted is None or count <= most_counted)
        ]
        return Sequence((literal("["), Graph(tuple(edges), 0, frozenset(last)), literal("]")))


@dataclass(frozen=True)
class Properties:
    """The properties of an object.

    Args:
        named: names in the order in which they are written, each with the language of its values (None where there is
            no such property), and whether it is required.
        others: languages of the JSON texts of other names, each with that of their values.
        least, most: how many properties; None sets no upper limit.
    """

    named: Several[tuple[str, Language | None, bool]]
    others: Several[tuple[Language, Language]] = ()
    least: int = 0
    most: int | None = None

    def expression(self) -> Expression:
        """The objects."""
        # Node (place, count): `place` names have been passed and `count` properties written, as far as that matters.
        # Between a name's nodes another one stands behind the comma.
        limit = max(1, self.least, 0 if self.most is None else self.most + 1)
        width = 2 * (limit + 1)
        edges: list[Edge] = []

        def before(place: int, count: int) -> tuple[int, int]:
            """The edge to behind the comma, if any; the node there, and the count that the property makes."""
            behind = min(count + 1, limit)
            node = place * width + limit + 1 + behind
            edges.append((place * width + count, literal(",") if count else NOTHING, node))
            return node, behind

        for place, (name, values, required) in enumerate(self.named):
            for count in range(limit + 1):
                if not required:
                    edges.append((place * width + count, NOTHING, (place + 1) * width + count))
                if values is not None:
                    before(place, count)
            if values is not None:
                pair = Sequence((literal(f"{written(name)}:"), Within(values)))
                for behind in range(1, limit + 1):
                    node = place * width + limit + 1 + behind
                    edges.append((node, pair, (place + 1) * width + behind))
        end = len(self.named)
        if self.others:
            for count in range(limit + 1):
                before(end, count)
            for behind in range(1, limit + 1):
                node = end * width + limit + 1 + behind
                for names, values in self.others:
                    pair = Sequence((Within(names), literal(":"), Within(values)))
                    edges.append((node, pair, end * width + behind))
        most = limit if self.most is None else self.most
        last = frozenset(end * width + count for count in range(self.least, most + 1))
        return Sequence((literal("{"), Graph(tuple(edges), 0, last), literal("}")))
