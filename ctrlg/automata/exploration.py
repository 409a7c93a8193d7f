"""Building an automaton from its start state outwards, many states at a time.

States are named by whole numbers, a function gives the names of all next states, and numbers are handed out
in the order in which the states are met.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ctrlg.errors import BudgetError

DEAD = -1
"""The name of the state from which nothing is accepted."""

_ENTRIES = 2**19  # table entries computed at a time

Follow = Callable[[NDArray[np.int64]], NDArray[np.int64]]


def explore(start: int, follow: Follow, max_states: int, what: str) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Names int64 [S] of all states reached from `start`, and their transitions int32 [S, K]; `start` is 0.

    follow: names of n states -> names of the states they lead to, int64 [n, K].
    Raises BudgetError, naming `what` is built, where that takes more than `max_states` states.
    """
    number: dict[int, int] = {start: 0}
    names = [start]
    rows: list[NDArray[np.int32]] = []
    done, block = 0, 1
    while done < len(names):
        batch = np.array(names[done : done + block], dtype=np.int64)
        done += len(batch)
        following = follow(batch)
        block = max(1, _ENTRIES // following.shape[1])
        met, position = np.unique(following, return_inverse=True)
        numbers = np.empty(len(met), dtype=np.int32)
        for place, name in enumerate(met.tolist()):
            numbers[place] = number.setdefault(name, len(number))
            if numbers[place] == len(names):
                names.append(name)
        if len(names) > max_states:
            raise BudgetError(
                f"the {what} needs more than {max_states} states",
                hint="drop a part of the promise or make one simpler, or allow more states",
            )
        rows.append(numbers[position.reshape(following.shape)])
    return np.array(names, dtype=np.int64), np.concatenate(rows)
