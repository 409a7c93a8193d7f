"""Building an automaton from its start state outwards, many states at a time.

States are named by whole numbers, a function gives the names of all next states, and numbers are handed out
in the order in which the states are met.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ctrlg.errors import BudgetError

DEAD = -1
"""The name of the state from which nothing is accepted."""

MAX_ENTRIES = 2**26
"""Most transitions of one table, 256 MB; algorithms on it take a few times as much."""

_ENTRIES = 2**19  # table entries computed at a time

Follow = Callable[[NDArray[np.int64]], NDArray[np.int64]]
State = TypeVar("State", bound=Hashable)


def explore(start: int, follow: Follow, max_states: int, what: str) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """All states reached from a start state, and their transitions.

    Args:
        start: the name of the start state.
        follow: names of n states -> names of the states they lead to, int64 [n, K].
        max_states: most states.
        what: is built, for errors.

    Returns:
        Names int64 [S], `start` first, and transitions int32 [S, K] between their places.

    Raises:
        BudgetError: more than max_states states, or a table too large.
    """
    number: dict[int, int] = {start: 0}
    names = [start]
    rows: list[NDArray[np.int32]] = []
    # The number of classes is known only after the first state; from then on batches fill _ENTRIES.
    done, block = 0, 1
    while done < len(names):
        batch = np.array(names[done : done + block], dtype=np.int64)
        done += len(batch)
        following = follow(batch)
        block = max(1, _ENTRIES // following.shape[1])
        # A batch has half a million entries and few distinct names: Python's dictionary is asked once for each of
        # those.
        met, position = np.unique(following, return_inverse=True)
        numbers = np.empty(len(met), dtype=np.int32)
        for place, name in enumerate(met.tolist()):
            numbers[place] = number.setdefault(name, len(number))
            # A number that was handed out just now.
            if numbers[place] == len(names):
                names.append(name)
        # After every batch: a construction that grows without end stops early.
        require_states(len(names), max_states, what)
        require_room(len(names), following.shape[1], what)
        rows.append(numbers[position.reshape(following.shape)])
    return np.array(names, dtype=np.int64), np.concatenate(rows)


def explore_one_by_one(
    start: State, follow: Callable[[State], Sequence[State]], max_states: int, what: str
) -> tuple[list[State], NDArray[np.int32]]:
    """All states reached from a start state, and their transitions; for states that are not numbers.

    Args:
        start: the start state.
        follow: a state -> the K states it leads to.
        max_states: most states.
        what: is built, for errors.

    Returns:
        The states, `start` first, and transitions int32 [S, K] between their places.

    Raises:
        BudgetError: more than max_states states.
    """
    number: dict[State, int] = {start: 0}
    states = [start]
    rows: list[list[int]] = []
    for state in states:  # grows while it is read
        row = []
        for following in follow(state):
            place = number.setdefault(following, len(states))
            if place == len(states):
                states.append(following)
            row.append(place)
        require_states(len(states), max_states, what)
        rows.append(row)
    return states, np.array(rows, dtype=np.int32)


def require_states(states: int, max_states: int, what: str) -> None:
    """BudgetError, naming `what` is built, for more than max_states states."""
    if states > max_states:
        raise BudgetError(
            f"{what}: needs more than {max_states:,} states",
            hint="drop a part of the constraint or make one simpler, or allow more states",
        )


def require_room(states: int, classes: int, what: str) -> None:
    """BudgetError, naming `what` is built, for a table of more than MAX_ENTRIES transitions."""
    if states * classes > MAX_ENTRIES:
        raise BudgetError(
            f"{what}: needs a table of more than {states:,} states x {classes:,} token classes, "
            f"the limit is {MAX_ENTRIES:,} transitions",
            hint="use fewer or shorter phrases, or drop a part of the constraint",
        )
