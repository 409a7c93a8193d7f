"""Automata that several parts of constraints need, compiled once: a few last ones are kept.

A minimal automaton says the same whatever number of states was allowed on the way to it. So one that was made within a
limit serves for every larger one; for a smaller one it is made again, and may be refused, as if none had been kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from ctrlg.automata.dfa import DFA

MOST_BYTES = 1 << 26
"""Of all automata that are kept."""


class CompiledOnce:
    """Keeps the automata that were asked for last. Threads may share it.

    Args:
        most_bytes: of all that are kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[Hashable, tuple[int, DFA]] = OrderedDict()
        self._bytes = 0
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, max_states: int, make: Callable[[], DFA]) -> DFA:
        """The automaton of a key.

        Args:
            key: says what is accepted, the vocabulary included; nothing is kept where it cannot be hashed.
            max_states: most states on the way.
            make: makes it within max_states, minimal.

        Raises:
            CtrlGError: as `make`; nothing is kept then.
        """
        try:
            hash(key)
        except TypeError:
            return make()
        with self._changing:
            limit, dfa = self._kept.get(key, (max_states + 1, None))
            if dfa is not None and limit <= max_states:
                self._kept.move_to_end(key)
                return dfa
        dfa = make()
        with self._changing:
            self._drop(key)
            self._kept[key] = (max_states, dfa)
            self._bytes += _bytes_of(dfa)
            while self._bytes > self._most:
                self._drop(next(iter(self._kept)))
        return dfa

    def clear(self) -> None:
        """Keep nothing."""
        with self._changing:
            self._kept.clear()
            self._bytes = 0

    def _drop(self, key: Hashable) -> None:
        if key in self._kept:
            self._bytes -= _bytes_of(self._kept.pop(key)[1])


def _bytes_of(dfa: DFA) -> int:
    return dfa.class_of.nbytes + dfa.delta.nbytes + dfa.accepting.nbytes


compiled_once = CompiledOnce()
"""What all constraints share."""
