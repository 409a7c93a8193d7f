"""One automaton after another.

While a string is read nobody knows where the first part ends, so a state is a pair: where the first automaton is, and
the set of states in which the second may be, having started at any moment the first accepted:

    (a, T) --k--> (a', {delta(t, k) for t in T} + {start of the second, if a' accepts})

A set keeps only states whose language is not contained in that of another one in it, which leaves sets of one or two
states where plain subsets would multiply. Where the second part loses nothing by what is put before it, as with
everything that must merely occur, the earliest seam is as good as any, and no sets are needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata import paths
from ctrlg.automata.classes import joint
from ctrlg.automata.exploration import explore
from ctrlg.automata.intersection import MAX_STATES, A, require_vocabulary
from ctrlg.automata.minimization import minimize
from ctrlg.automata.table import Automaton
from ctrlg.errors import BudgetError

_PAIR_WORK = 2**24  # transitions of pairs looked at, about two seconds
_INCLUSION_WORK = 2**29  # about a second
_SET_BYTES = 2**30  # for all sets of states together
_SET_BLOCK = 2**24  # bytes of sets of states, computed at a time


def concatenate(first: A, second: A, *, max_states: int = MAX_STATES) -> A:
    """Accepts every string that splits into one `first` accepts and one `second` accepts; both may be empty.

    The result is not minimized.

    Args:
        first: the automaton that reads first.
        second: the one that reads the rest, over the same vocabulary.
        max_states: most states.

    Raises:
        VocabularyError: vocabularies differ in size.
        BudgetError: more than max_states states, or too many sets of states, are needed.
    """
    require_vocabulary(second, first.vocab_size)
    what = f"concatenation of {first!r} and {second!r}"
    first, second = minimize(first), minimize(second)
    class_of, first_class, second_class = joint(first.class_of, second.class_of, first.num_classes, second.num_classes)
    following_first, following_second = first.delta[:, first_class], second.delta[:, second_class]
    if _any_prefix_keeps(second):
        return _at_the_earliest_seam(first, second, class_of, following_first, following_second)

    sets = _StateSets(second, what)
    over = first.num_states  # the first part can no longer end, or no longer matters
    # A state's name is (number of the set) * width + (state of the first part).
    width = first.num_states + 1
    live = first.distances() < paths.UNREACHABLE
    following = np.full((width, len(first_class)), over, dtype=np.int64)
    # A first part that can no longer end is of no more use, wherever it is: all such states are one.
    following[:over] = np.where(live[following_first], following_first, over)
    ends = np.append(first.accepting, False)

    def name(state: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
        # Nor does it matter where the first part is once the second accepts whatever follows.
        return number * width + np.where(sets.everything(number), over, state)

    def follow(names: NDArray[np.int64]) -> NDArray[np.int64]:
        state = following[names % width]
        return name(state, sets.follow(names // width, second_class, ends[state]))

    start = name(np.array([first.initial]), sets.starting(bool(first.accepting[first.initial])))
    names, delta = explore(int(start[0]), follow, max_states, what)
    return type(first)(class_of, delta, 0, sets.accepting(names // width))


def _any_prefix_keeps(dfa: Automaton) -> bool:
    """Whether every accepted string stays accepted whatever is put before it; False also where that is hard to say.

    Compares the start with the states one token away from it, along all strings that tell them apart.
    """
    states, starts = dfa.num_states, np.unique(dfa.delta[dfa.initial])
    # One token in front is enough to look at: if it loses no accepted string, neither does a second one in front of
    # that. Pairs (state without the token, state with it), as state * S + state.
    frontier = dfa.initial * states + starts.astype(np.int64)
    seen: set[int] = set()
    while len(frontier):
        seen.update(frontier.tolist())
        without, with_prefix = frontier // states, frontier % states
        if (dfa.accepting[without] & ~dfa.accepting[with_prefix]).any():
            return False
        if len(seen) * dfa.num_classes > _PAIR_WORK:
            return False
        following = np.unique(dfa.delta[without].astype(np.int64) * states + dfa.delta[with_prefix])
        # From equal states on nothing tells the two apart.
        following = following[following // states != following % states]
        frontier = np.array([pair for pair in following.tolist() if pair not in seen], dtype=np.int64)
    return True


def _at_the_earliest_seam(
    first: A, second: A, class_of: NDArray[np.int32], following_first: np.ndarray, following_second: np.ndarray
) -> A:
    """The first automaton until it accepts, and the second from then on."""
    offset = first.num_states
    delta = np.concatenate([following_first, following_second + offset])
    # Edges into accepting states of the first part lead to the start of the second instead.
    delta = np.where(
        np.append(first.accepting, np.zeros(second.num_states, bool))[delta], offset + second.initial, delta
    )
    accepting = np.append(np.zeros(offset, bool), second.accepting)
    start = offset + second.initial if first.accepting[first.initial] else first.initial
    reached = paths.breadth_first(delta, start)
    # Only what is reached is kept, renumbered in the order of the search.
    number = np.zeros(len(delta), dtype=np.int32)
    number[reached] = np.arange(len(reached))
    return type(first)(class_of, number[delta[reached]], 0, accepting[reached])


class _StateSets:
    """Sets of states of a minimal automaton, numbered as they are met; what each becomes is computed once."""

    def __init__(self, dfa: Automaton, what: str) -> None:
        self._dfa = dfa
        self._what = what
        self._dead = np.flatnonzero(dfa.distances() == paths.UNREACHABLE)
        self._universal = _universal(dfa)
        self._contained = _strictly_contained(dfa)
        self._number: dict[bytes, int] = {}
        self._members = np.zeros((0, dfa.num_states), dtype=bool)
        self._next = np.zeros((0, 2, dfa.num_classes), dtype=np.int64)

    def starting(self, entered: bool) -> NDArray[np.int64]:
        """The set before the first token: the start state if `entered`, else empty; int64 [1]."""
        members = np.zeros((1, self._dfa.num_states), dtype=bool)
        members[0, self._dfa.initial] = entered
        return self._numbers(members)

    def follow(
        self, sets: NDArray[np.int64], classes: NDArray[np.int64], entered: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Sets after one token, [n, K]: of n sets, for K classes, with the start where `entered` [n, K]."""
        # -1 stands for a set whose successors were never asked for.
        missing = np.unique(sets[self._next[sets, 0, 0] < 0])
        block = max(1, _SET_BLOCK // (2 * self._dfa.num_classes * self._dfa.num_states))
        for begin in range(0, len(missing), block):
            self._compute(missing[begin : begin + block])
        return self._next[sets[:, None], entered.astype(np.int64), classes]

    def accepting(self, sets: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.any(self._members & self._dfa.accepting, axis=1)[sets]

    def everything(self, sets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which sets accept whatever follows."""
        return np.any(self._members[:, self._universal], axis=1)[sets]

    def _compute(self, sets: NDArray[np.int64]) -> None:
        classes = self._dfa.num_classes
        # after[set, entered, class] is a set, bool [S]: at most _SET_BLOCK bytes for all. Every member of a set, one
        # (row, state) each, sets one entry for each class.
        after = np.zeros((len(sets), 2, classes, self._dfa.num_states), dtype=bool)
        row, state = np.nonzero(self._members[sets])
        after[row[:, None], 0, np.arange(classes), self._dfa.delta[state]] = True
        after[:, 1] = after[:, 0]
        after[:, 1, :, self._dfa.initial] = True
        numbers = self._numbers(after.reshape(-1, self._dfa.num_states))
        self._next[sets] = numbers.reshape(len(sets), 2, classes)

    def _numbers(self, members: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The numbers of sets bool [n, S], new ones where they were not met before."""
        # Three ways to write a set that change nothing about what it accepts, so that fewer sets are met: dead states
        # out; a universal state alone, for it covers all; and of two states, one of whose languages contains the other,
        # only the larger.
        members[:, self._dead] = False
        settled = members[:, self._universal].any(axis=1)
        members[settled] = False
        members[np.ix_(settled, self._universal)] = True
        if self._contained is not None:
            # (members @ contained.T)[i, s] counts the members of set i whose language strictly contains that of s.
            # float32, because integer products do not go through BLAS.
            members &= members.astype(np.float32) @ self._contained.T == 0
        numbers = np.empty(len(members), dtype=np.int64)
        fresh: list[int] = []
        for row, packed in enumerate(np.packbits(members, axis=1)):
            number = self._number.setdefault(packed.tobytes(), len(self._number))
            if number == len(self._members) + len(fresh):
                fresh.append(row)
            numbers[row] = number
        if len(self._number) * self._dfa.num_states > _SET_BYTES:
            raise BudgetError(
                f"the {self._what} needs too many sets of states",
                hint="drop a part of the constraint or make one simpler",
            )
        self._members = np.concatenate([self._members, members[fresh]])
        unknown = np.full((len(fresh), 2, self._dfa.num_classes), -1, dtype=np.int64)
        self._next = np.concatenate([self._next, unknown])
        return numbers


def _universal(dfa: Automaton) -> NDArray[np.int64]:
    """States of a minimal automaton that accept whatever follows: at most one."""
    stays = (dfa.delta == np.arange(dfa.num_states)[:, None]).all(axis=1)
    return np.flatnonzero(stays & dfa.accepting)


def _strictly_contained(dfa: Automaton) -> NDArray[np.float32] | None:
    """1 where the language of state s is a proper part of that of state t, float32 [S, S]; `dfa` is minimal.

    None where finding out takes more than _INCLUSION_WORK steps.
    """
    rounds = _INCLUSION_WORK // (dfa.num_states**2 * dfa.num_classes)
    if not rounds:
        return None
    # The largest relation with: s accepts only if t does, and contained[s, t] only if contained[delta(s, k), delta(t,
    # k)] for all k. Pairs are taken out until none has to go.
    contained = ~dfa.accepting[:, None] | dfa.accepting
    for _ in range(rounds):
        before = int(contained.sum())
        for column in dfa.delta.T:
            contained &= contained[column][:, column]
        if contained.sum() == before:
            # States of a minimal automaton have different languages, so only s = t is not strict.
            np.fill_diagonal(contained, False)
            return contained.astype(np.float32)
    return None
