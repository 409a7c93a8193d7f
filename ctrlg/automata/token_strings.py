"""The tokens of a vocabulary as an automaton over text sees them: one tree of strings of symbol classes.

Most tokens differ only in letters that an automaton cannot tell apart, and many begin alike. So the strings of classes
are kept once each, as a tree of prefixes, and all of them are read together, a level (one symbol) at a time:

    reached[s, child] = delta[reached[s, parent of child], class of child]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata.classes import compacted


@dataclass(frozen=True)
class TokenStrings:
    """The distinct strings of symbol classes that tokens are, D of them, in a tree.

    parents, classes: per level, int32 [n_j]; the position of each node's parent in the level above (above the first
        is the root alone), and the class of symbol that leads to it.
    ends: per level, int64; the nodes of the level at which a token ends; all of them in order are the strings.
    of_token: int64 [N]; the string of every token, as the tokens were given.
    """

    parents: tuple[NDArray[np.int32], ...]
    classes: tuple[NDArray[np.int32], ...]
    ends: tuple[NDArray[np.int64], ...]
    of_token: NDArray[np.int64]

    @classmethod
    def of(cls, columns: Sequence[NDArray[np.int32]], class_of: NDArray[np.integer], num_classes: int) -> TokenStrings:
        """The strings of tokens laid out as in `TokenSymbols.columns`; class_of: the class of every symbol."""
        parents, classes, ends = [], [], []
        of_token = np.zeros(len(columns[0]) if columns else 0, dtype=np.int64)
        node = np.zeros(len(of_token), dtype=np.int64)  # of every token that goes on, in the level above
        above, strings = 1, 0
        for level, column in enumerate(columns):
            nodes, node = compacted(node[: len(column)] * num_classes + class_of[column], above * num_classes)
            parents.append((nodes // num_classes).astype(np.int32))
            classes.append((nodes % num_classes).astype(np.int32))
            above = len(nodes)
            longer = len(columns[level + 1]) if level + 1 < len(columns) else 0
            end, string = compacted(node[longer:], above)
            of_token[longer : len(column)] = strings + string
            ends.append(end)
            strings += len(end)
        return cls(tuple(parents), tuple(classes), tuple(ends), of_token)

    @property
    def count(self) -> int:
        """D, the number of distinct strings."""
        return sum(map(len, self.ends))

    def beginnings(self) -> NDArray[np.int32]:
        """The class of symbol that each string begins with, int32 [D]."""
        beginning = self.classes[0] if self.classes else np.zeros(0, dtype=np.int32)
        found = []
        for level, (parent, end) in enumerate(zip(self.parents, self.ends, strict=True)):
            beginning = beginning[parent] if level else beginning
            found.append(beginning[end])
        return np.concatenate(found) if found else beginning

    def only(self, strings: NDArray[np.int64]) -> TokenStrings:
        """The tree of some of the strings, given by ascending numbers, which become 0, 1, ...; of_token is empty."""
        parents, classes, ends = [], [], []
        above = np.zeros(0, dtype=np.int64)  # nodes of this level that kept ones below hang from
        last = self.count
        for level in reversed(range(len(self.ends))):
            first = last - len(self.ends[level])
            end = self.ends[level][strings[(first <= strings) & (strings < last)] - first]
            nodes = np.union1d(end, above)
            if parents:
                parents[-1] = np.searchsorted(nodes, parents[-1]).astype(np.int32)
            ends.append(np.searchsorted(nodes, end))
            classes.append(self.classes[level][nodes])
            parents.append(self.parents[level][nodes])
            above, last = np.unique(parents[-1]), first
        none = np.zeros(0, dtype=np.int64)
        return TokenStrings(tuple(reversed(parents)), tuple(reversed(classes)), tuple(reversed(ends)), none)

    def read(self, delta: NDArray[np.int32], states: NDArray[np.int32]) -> NDArray[np.int32]:
        """Where every string leads from each of `states` in the table `delta` [S, K]: int32 [states, D]."""
        width = np.int32(delta.shape[1])
        row_after = delta.ravel() * width  # where the row of the next state begins
        rows = states[:, None] * width
        found = []
        for parent, symbol_class, end in zip(self.parents, self.classes, self.ends, strict=True):
            rows = row_after[rows[:, parent] + symbol_class]
            found.append(rows[:, end])
        return np.concatenate(found, axis=1) // width if found else np.zeros((len(states), 0), dtype=np.int32)
