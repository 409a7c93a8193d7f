"""The transition table of a deterministic finite automaton over token classes, and what can be asked of it.

Tokens that behave alike in every state share a class, so a step is `delta[state, class_of[token]]` and every
algorithm works on a few dozen classes instead of the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Self

from ctrlg.arguments import refused, whole
from ctrlg.automata import paths
from ctrlg.automata.classes import first_tokens
from ctrlg.errors import ConstraintError, VocabularyError


@dataclass(frozen=True, eq=False, repr=False)
class Automaton:
    """An immutable, total automaton without its algebra, which `ctrlg.automata.DFA` adds.

    Arrays are copied where needed and read-only afterwards.

    Args:
        class_of: int32 [V], the class of every token, in [0, K). Classes without a token are dropped.
        delta: int32 [S, K], the next state, in [0, S).
        initial: the start state.
        accepting: bool [S]; a token string is accepted when its run ends in such a state.

    Raises:
        ConstraintError: arrays of other shapes or numbers outside their range.
    """

    UNREACHABLE: ClassVar[int] = paths.UNREACHABLE
    """What `distances` holds for a state from which nothing is accepted."""

    class_of: np.ndarray
    delta: np.ndarray
    initial: int
    accepting: np.ndarray

    def __post_init__(self) -> None:
        class_of = _integers("class_of", self.class_of, dimensions=1)
        delta = _integers("delta", self.delta, dimensions=2)
        accepting = _array("accepting", self.accepting)
        states, classes = delta.shape
        if accepting.dtype != np.bool_ or accepting.shape != (states,):
            raise ConstraintError(
                f"accepting is {accepting.dtype} {list(accepting.shape)}, delta has {states} states",
                hint="pass one bool for every state",
            )
        _require_range("class_of", class_of, classes, "token classes")
        _require_range("delta", delta, states, "states")
        initial = _array("initial", self.initial)
        if initial.shape != () or initial.dtype.kind not in "iu" or not 0 <= initial < states:
            raise ConstraintError(
                f"initial is {self.initial!r}, the automaton has {states} states",
                hint=f"pass a state between 0 and {states - 1}",
            )
        used = np.bincount(class_of, minlength=classes) > 0
        if not used.all():
            class_of = (np.cumsum(used) - 1)[class_of]
            delta = delta[:, used]
        object.__setattr__(self, "class_of", _frozen(class_of, np.int32))
        object.__setattr__(self, "delta", _frozen(delta, np.int32))
        object.__setattr__(self, "initial", int(initial))
        object.__setattr__(self, "accepting", _frozen(accepting, np.bool_))

    @property
    def vocab_size(self) -> int:
        return self.class_of.shape[0]

    @property
    def num_states(self) -> int:
        return self.delta.shape[0]

    @property
    def num_classes(self) -> int:
        return self.delta.shape[1]

    def __repr__(self) -> str:
        sizes = f"{self.num_states} states, {self.num_classes} token classes, {self.vocab_size} tokens"
        return f"{type(self).__name__}({sizes})"

    def step(self, state: int, token: int) -> int:
        """The state after one token.

        Args:
            state: in [0, S).
            token: in [0, V).

        Raises:
            ConstraintError: a state out of range.
            VocabularyError: a token out of range.
        """
        return self.run((token,), state)

    def run(self, ids: Iterable[int], state: int | None = None) -> int:
        """The state after some tokens.

        Args:
            ids: the tokens, in [0, V).
            state: where to begin; the start state where None.

        Raises:
            ConstraintError: a state out of range.
            VocabularyError: a token out of range.
        """
        here = self.initial if state is None else self._require_state(state)
        for token in _iterated(ids):
            if not 0 <= whole("a token id", token) < self.vocab_size:
                raise VocabularyError(
                    f"token id {token} is outside the automaton's vocabulary of {self.vocab_size} tokens",
                    hint=f"token ids run from 0 to {self.vocab_size - 1}",
                )
            here = int(self.delta[here, self.class_of[token]])
        return here

    def accepts(self, ids: Iterable[int]) -> bool:
        """Whether the whole token string is accepted.

        Args:
            ids: the tokens, in [0, V).

        Raises:
            VocabularyError: a token out of range.
        """
        return bool(self.accepting[self.run(ids)])

    def distances(self) -> NDArray[np.int32]:
        """Fewest tokens from every state to acceptance.

        Returns:
            int32 [S]; `UNREACHABLE` where there is no way.
        """
        return self._distances

    def shortest_length(self, state: int | None = None) -> int | None:
        """Fewest tokens to acceptance.

        Args:
            state: where to begin; the start state where None.

        Returns:
            Their number, None where there is no way.

        Raises:
            ConstraintError: a state out of range.
        """
        here = self.initial if state is None else self._require_state(state)
        distance = int(self.distances()[here])
        return None if distance == self.UNREACHABLE else distance

    def shortest_accepted(self) -> list[int] | None:
        """A shortest accepted token string, of the smallest ids from the left; None if there is none."""
        distance = self.distances()
        if distance[self.initial] == self.UNREACHABLE:
            return None
        first_token = first_tokens(self.class_of, self.num_classes)
        string: list[int] = []
        state = self.initial
        while distance[state]:
            nearer = np.flatnonzero(distance[self.delta[state]] == distance[state] - 1)
            chosen = nearer[np.argmin(first_token[nearer])]
            string.append(int(first_token[chosen]))
            state = int(self.delta[state, chosen])
        return string

    def __invert__(self) -> Self:
        """Accepts what this one does not."""
        return type(self)(self.class_of, self.delta, self.initial, ~self.accepting)

    @cached_property
    def _distances(self) -> NDArray[np.int32]:
        return _frozen(paths.distances_in(self.delta, self.accepting), np.int32)

    def _require_state(self, state: int) -> int:
        if not 0 <= whole("state", state) < self.num_states:
            raise ConstraintError(
                f"state {state} is outside the automaton's {self.num_states} states",
                hint=f"states run from 0 to {self.num_states - 1}",
            )
        return int(state)


def _iterated(ids: Any) -> Iterable[int]:
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise refused("ids", ids, "a list of token ids")
    return ids


def _array(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of different lengths, tensors elsewhere
        raise ConstraintError(f"{name} is no array: {error}", hint="rows of one length") from error


def _integers(name: str, values: ArrayLike, dimensions: int) -> NDArray[np.integer]:
    array = _array(name, values)
    if array.dtype.kind not in "iu" or array.ndim != dimensions or array.size == 0:
        raise ConstraintError(
            f"{name} is {array.dtype} {list(array.shape)}",
            hint=f"pass whole numbers in an array with {dimensions} dimension(s), none of them empty",
        )
    return array


def _require_range(name: str, array: NDArray[np.integer], stop: int, what: str) -> None:
    if array.min() < 0 or array.max() >= stop:
        wrong = array.min() if array.min() < 0 else array.max()
        raise ConstraintError(
            f"{name} holds {wrong}, the automaton has {stop} {what}", hint=f"use numbers from 0 to {stop - 1}"
        )


def _frozen(array: NDArray, dtype: type[np.generic]) -> NDArray:
    """A read-only, contiguous array that nobody else can write to; copied unless it already is one."""
    own = np.ascontiguousarray(array, dtype=dtype)
    if own.flags.writeable or own.base is not None:
        own = own.copy() if np.may_share_memory(own, array) else own
        own.setflags(write=False)
    return own
