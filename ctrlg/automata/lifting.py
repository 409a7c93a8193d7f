"""From an automaton over text to an automaton over tokens.

`lift` runs the characters of every token through the text automaton, from every state a token can begin in, all tokens
at once; tokens that lead to the same states from everywhere are one class. However a text is cut into tokens, the
token automaton therefore says what the text automaton says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ctrlg.automata import paths
from ctrlg.automata.characters import SYMBOLS
from ctrlg.automata.dfa import DFA
from ctrlg.automata.vocabulary import Vocabulary
from ctrlg.errors import ConstraintError

_STATES_AT_ONCE = 64  # start states lifted together; bounds the memory at 64 x V x 4 bytes


def lift(
    text: DFA,
    vocabulary: Vocabulary,
    *,
    prefix: str = "",
    suffix: str = "",
    settle: NDArray[np.integer] | None = None,
) -> DFA:
    """The automaton over contents (token strings) for which prefix + content + suffix is accepted by `text`.

    text: reads symbols, see `ctrlg.automata.characters`; its class_of has SYMBOLS entries.
    settle: int [S], the state to continue in where a token ends; the identity if None. It keeps the automaton small by
    forgetting what may be forgotten, and must be chosen such that forgetting never accepts more.
    Tokens that are not content lead to a dead state. The result is not minimised.
    Raises ConstraintError for an automaton over other symbols.
    """
    if text.vocab_size != SYMBOLS:
        raise ConstraintError(
            f"the automaton reads {text.vocab_size} symbols, text has {SYMBOLS}",
            hint="class_of maps every symbol of ctrlg.automata.characters",
        )
    start = text.run(map(ord, prefix))
    settled = np.arange(text.num_states) if settle is None else np.asarray(settle)
    states = np.union1d(settled[paths.reachable(text.delta, start)], [start]).astype(np.int32)
    tokens, columns, _ = vocabulary.symbols
    class_columns = [text.class_of[column] for column in columns]
    content_class = np.zeros(len(tokens), dtype=np.int64)
    for first in range(0, len(states), _STATES_AT_ONCE):
        batch = states[first : first + _STATES_AT_ONCE]
        content_class = _refine(content_class, settled[_ends(text.delta, class_columns, batch, len(tokens))])
    _, representative = np.unique(content_class, return_index=True)
    content_class = np.argsort(np.argsort(representative))[content_class]
    representative = np.sort(representative)  # the longest first, as in columns
    kept_columns = [column[representative[representative < len(column)]] for column in class_columns]
    ends = settled[_ends(text.delta, kept_columns, states, len(representative))]

    dead, dead_class = len(states), len(representative)
    delta = np.full((len(states) + 1, len(representative) + 1), dead, dtype=np.int32)
    delta[:dead, :dead_class] = np.searchsorted(states, ends)
    class_of = np.full(vocabulary.vocab_size, dead_class, dtype=np.int32)
    class_of[tokens] = content_class
    after_suffix = states
    for character in suffix:
        after_suffix = text.delta[after_suffix, text.class_of[ord(character)]]
    accepting = np.append(text.accepting[after_suffix], False)
    return DFA(class_of, delta, int(np.searchsorted(states, start)), accepting)


def _ends(
    delta: NDArray[np.int32], columns: Sequence[NDArray[np.int32]], states: NDArray[np.int32], count: int
) -> NDArray[np.int32]:
    """Where each of `count` tokens ends from each of `states`, int32 [states, count]."""
    flat, classes = delta.ravel(), np.int32(delta.shape[1])
    ends = np.repeat(states[:, None], count, axis=1)
    for column in columns:
        reading = ends[:, : len(column)]
        reading[:] = flat[reading * classes + column]
    return ends


def _refine(classes: NDArray[np.int64], rows: NDArray[np.integer]) -> NDArray[np.int64]:
    """Splits classes of tokens until tokens of one class have equal columns in `rows` [n, N]; exact.

    Columns are compared by random sums modulo 2^64, then in full; a collision costs another draw.
    """
    seed = 0
    while True:
        weights = np.random.default_rng(seed).integers(1, 2**63, size=len(rows) + 1, dtype=np.uint64)
        sums = classes.astype(np.uint64) * weights[-1]
        for row, weight in zip(rows, weights[:-1], strict=True):
            sums += row.astype(np.uint64) * weight
        _, first, refined = np.unique(sums, return_index=True, return_inverse=True)
        of_class = first[refined]
        if (classes == classes[of_class]).all() and all((row == row[of_class]).all() for row in rows):
            return refined
        seed += 1
