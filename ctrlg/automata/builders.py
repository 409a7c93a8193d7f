"""Automata from token patterns: Aho and Corasick's (1975) machine, and the one that asks for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np

from ctrlg.arguments import LARGEST_VOCABULARY, Between, VocabularySize, checked
from ctrlg.automata import algebra
from ctrlg.automata.dfa import DFA
from ctrlg.automata.exploration import require_room, require_states
from ctrlg.errors import ConstraintError, VocabularyError


@checked
def trivial(vocab_size: Annotated[int, Between(most=LARGEST_VOCABULARY)]) -> DFA:
    """Accepts every token string.

    Args:
        vocab_size: V, >= 1.

    Raises:
        VocabularyError: a vocabulary without tokens.
    """
    return algebra.constant(True, vocab_size)


@checked
def contains(patterns: Iterable[Sequence[int]], vocab_size: VocabularySize) -> DFA:
    """Accepts strings in which at least one of some patterns occurs; minimal (Aho and Corasick 1975).

    Patterns may repeat, overlap, or contain each other.

    Args:
        patterns: strings of token ids.
        vocab_size: V.

    Raises:
        ConstraintError: no patterns or an empty one.
        VocabularyError: a token id outside [0, vocab_size).
        BudgetError: their table would be too large.
    """
    wanted = _checked(patterns, vocab_size)
    tokens = sorted({token for pattern in wanted for token in pattern})
    class_of = np.zeros(vocab_size, dtype=np.int32)
    class_of[tokens] = np.arange(1, len(tokens) + 1)
    children, complete = _trie([class_of[list(pattern)].tolist() for pattern in wanted])
    what = f"automaton of {len(wanted):,} patterns"
    require_states(len(children), algebra.MAX_STATES, what)
    require_room(len(children), len(tokens) + 1, what)

    # A node's row is that of its longest proper suffix in the trie, but for its own children.
    delta = np.zeros((len(children), len(tokens) + 1), dtype=np.int32)
    suffix = np.zeros(len(children), dtype=np.int32)
    queue = [0]
    for node in queue:
        complete[node] |= complete[suffix[node]]
        delta[node] = delta[suffix[node]]
        for token_class, child in children[node].items():
            suffix[child] = delta[node, token_class]
            delta[node, token_class] = child
            queue.append(child)
    accepting = np.array(complete)
    found = np.flatnonzero(accepting)
    delta[found] = found[:, None]
    return DFA(class_of, delta, 0, accepting).minimize()


def _checked(patterns: Iterable[Sequence[int]], vocab_size: int) -> list[tuple[int, ...]]:
    wanted = [tuple(int(token) for token in pattern) for pattern in patterns]
    if not wanted or not all(wanted):
        raise ConstraintError(
            "there are no patterns" if not wanted else "a pattern is empty",
            hint="give at least one token string, each of at least one token",
        )
    for pattern in wanted:
        for token in pattern:
            if not 0 <= token < vocab_size:
                raise VocabularyError(
                    f"token id {token} of pattern {list(pattern)} is outside the vocabulary of {vocab_size}",
                    hint="tokenize the pattern with the tokenizer of the HMM, without special tokens",
                )
    return wanted


def _trie(strings: Iterable[Sequence[int]]) -> tuple[list[dict[int, int]], list[bool]]:
    """Children of every node of the tree of prefixes, the root first, and whether a string ends there."""
    children: list[dict[int, int]] = [{}]
    complete = [False]
    for string in strings:
        node = 0
        for symbol in string:
            if symbol not in children[node]:
                children[node][symbol] = len(children)
                children.append({})
                complete.append(False)
            node = children[node][symbol]
        complete[node] = True
    return children, complete
