"""Which automaton states can still keep the constraint, exactly, in the tokens left.

A *horizon* (least, most) says how many content tokens may still come before the suffix begins. From state `d`

    live(least, most)[d] = (least == 0 and accepting[d])
                           or (most > 0 and some content token leads from d to a state in live(next))

with next = (max(least - 1, 0), most - 1). Lengths are counted one by one, not bounded by a shortest
distance: a state from which only even lengths are accepted is dead where an odd number must follow. The
suffix itself can always be written, so it takes no part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ctrlg.errors import BudgetError, UnsatisfiableError
from ctrlg.look_ahead.content import ContentAutomaton

TABLE_BYTES = 1 << 30  # most memory for live and visited states of all horizons
_HORIZON_BYTES = 400  # of an entry beside its states


class Horizon(NamedTuple):
    """How many content tokens may still come.

    Attributes:
        least: at least so many.
        most: at most so many.
    """

    least: int
    most: int

    def next(self) -> Horizon:
        """The horizon after one more content token; only where `most` > 0."""
        return Horizon(max(self.least - 1, 0), self.most - 1)


def horizon_at(token_range: Sequence[int], step: int) -> Horizon:
    """The horizon of a text that has begun; `most` < 0 when it is too long.

    Args:
        token_range: least and most tokens of the content.
        step: content tokens so far.
    """
    least, most = token_range
    return Horizon(max(least - step, 0), most - step)


class Reachability:
    """Live states for every horizon that the token ranges lead through.

    Args:
        automaton: the content's.
        token_ranges: least and most content tokens, one pair or several.
        starts: states before the first token; the automaton's where None. Given ones are not asked whether the
            constraint can be kept from them.

    Attributes:
        live: horizon -> bool [S]; the constraint can be kept from here.
        visited: horizon -> bool [S]; live, and reached from the initial state by some content after which this is the
            horizon.

    Raises:
        BudgetError, UnsatisfiableError: no content of some range is accepted.
        BudgetError: the states of all horizons take more than TABLE_BYTES.
    """

    def __init__(
        self,
        automaton: ContentAutomaton,
        token_ranges: Iterable[Sequence[int]],
        starts: Sequence[int] | None = None,
    ) -> None:
        ranges = sorted({(int(low), int(high)) for low, high in token_ranges})
        _require_room(automaton.num_states, ranges)
        self.live = _live_states(automaton, ranges)
        for low, high in ranges if starts is None else ():
            if not self.live[Horizon(low, high)][automaton.initial]:
                raise _refusal(automaton, low, high)
        self.visited = _visited_states(automaton, ranges, self.live, starts or (automaton.initial,))


def _require_room(states: int, ranges: list[tuple[int, int]]) -> None:
    """BudgetError where the live and visited states of every horizon take more than TABLE_BYTES."""
    # Two bools for each state, live and visited.
    a_horizon = 2 * states + _HORIZON_BYTES
    horizons = sum(high for _, high in ranges)
    if horizons * a_horizon > TABLE_BYTES:
        raise BudgetError(
            f"max_new_tokens is {max(high for _, high in ranges):,}, too many for a constraint of {states:,} states",
            hint=f"set it to {TABLE_BYTES // a_horizon // len(ranges):,} or less, or make the constraint simpler",
        )


def _live_states(automaton: ContentAutomaton, ranges: list[tuple[int, int]]) -> dict[Horizon, np.ndarray]:
    edges = _Edges(automaton)
    live: dict[Horizon, np.ndarray] = {}
    for low, high in ranges:
        # Chains of different ranges meet once their least number is 0: each is followed up to a horizon that is known,
        # and computed from there back, fewest tokens first.
        missing = []
        horizon = Horizon(low, high)
        while horizon.most >= 0 and horizon not in live:
            missing.append(horizon)
            horizon = horizon.next()
        for horizon in reversed(missing):
            # live = (least == 0 and accepting) or (most > 0 and an edge leads into live(next))
            ends = automaton.accepting if horizon.least == 0 else np.zeros(automaton.num_states, dtype=bool)
            goes_on = edges.backward(live[horizon.next()]) if horizon.most > 0 else False
            live[horizon] = ends | goes_on
    return live


def _visited_states(
    automaton: ContentAutomaton,
    ranges: list[tuple[int, int]],
    live: dict[Horizon, np.ndarray],
    starts: Sequence[int],
) -> dict[Horizon, np.ndarray]:
    edges = _Edges(automaton)
    visited = {horizon: np.zeros(automaton.num_states, dtype=bool) for horizon in live}
    reached = np.zeros(automaton.num_states, dtype=bool)
    reached[list(starts)] = True
    # The states after `step` tokens are the same for all ranges; which horizon that is differs.
    for step in range(max(high for _, high in ranges) + 1):
        for token_range in ranges:
            horizon = horizon_at(token_range, step)
            if horizon.most >= 0:
                visited[horizon] |= reached & live[horizon]
        reached = edges.forward(reached)
    return visited


def _refusal(automaton: ContentAutomaton, low: int, high: int) -> BudgetError | UnsatisfiableError:
    """Why no content of `low` to `high` tokens is accepted, and the nearest lengths that are."""
    edges = _Edges(automaton)
    reached = np.zeros(automaton.num_states, dtype=bool)
    reached[automaton.initial] = True
    shorter = None
    # First the lengths below the range, for the nearest one that would do; then, from the states after `low` tokens,
    # the fewest more that reach an accepting state.
    for length in range(low):
        if (reached & automaton.accepting).any():
            shorter = length
        reached = edges.forward(reached)
    longer = _shortest_way(edges, reached, automaton.accepting)
    if longer is not None:
        needed = low + longer
        return BudgetError(
            f"the constraint needs at least {needed} tokens, max_new_tokens is {high}"
            + (f" (min_new_tokens is {low})" if low else ""),
            hint=f"set max_new_tokens to {needed} or more"
            + (f", or min_new_tokens to {shorter} or less" if shorter is not None else ", or constraint less"),
        )
    if shorter is not None:
        return BudgetError(
            f"the longest text that keeps the constraint has {shorter} tokens, min_new_tokens is {low}",
            hint=f"set min_new_tokens to {shorter} or less",
        )
    return UnsatisfiableError(
        "no text keeps the constraint, whatever its length",
        hint="its parts exclude each other, or need tokens that are never content (end of text, special)",
    )


def _shortest_way(edges: _Edges, sources: np.ndarray, accepting: np.ndarray) -> int | None:
    """Fewest tokens from any source state to an accepting one; None where there is no way."""
    seen = sources.copy()
    frontier = sources
    length = 0
    while frontier.any():
        if (frontier & accepting).any():
            return length
        # Breadth first: the first accepting state that is met is a nearest one.
        frontier = edges.forward(frontier) & ~seen
        seen |= frontier
        length += 1
    return None


class _Edges:
    """The automaton's edges as two index arrays, to push sets of states along them."""

    def __init__(self, automaton: ContentAutomaton) -> None:
        # The source of every edge, from the ranges edge_start holds: int64 [E].
        self.source = np.repeat(np.arange(automaton.num_states), np.diff(automaton.edge_start))
        self.target = automaton.edge_target
        self.num_states = automaton.num_states

    def forward(self, states: np.ndarray) -> np.ndarray:
        """States one content token away from any of `states`, bool [S]."""
        result = np.zeros(self.num_states, dtype=bool)
        # [E] booleans pick the edges that leave `states`; several may set one target to True.
        result[self.target[states[self.source]]] = True
        return result

    def backward(self, states: np.ndarray) -> np.ndarray:
        """States from which one content token leads into `states`, bool [S]."""
        result = np.zeros(self.num_states, dtype=bool)
        result[self.source[states[self.target]]] = True
        return result
