"""Truth for decoding by enumeration: every text of a tiny vocabulary and its probability, in float64."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from hypothesis import strategies as st

from ctrlg.automata.dfa import DFA
from ctrlg.hmm import HMM

VOCAB = 5
EOS = 4


@dataclass(frozen=True)
class TinyHMM:
    """transition [H, H], emission [H, V], initial [H]; float64 probabilities."""

    transition: np.ndarray
    emission: np.ndarray
    initial: np.ndarray

    @cached_property
    def model(self) -> HMM:
        """The same HMM as the library holds it."""
        return HMM.of_parameters(
            torch.from_numpy(self.transition),
            torch.from_numpy(self.emission),
            torch.from_numpy(self.initial),
            EOS,
        )

    def probability(self, tokens: Sequence[int], start: np.ndarray) -> float:
        """p(tokens) where the state that emits the first of them is distributed as `start` (any vector)."""
        for token in tokens:
            start = (start * self.emission[:, token]) @ self.transition
        return float(start.sum())

    def after(self, tokens: Sequence[int]) -> np.ndarray:
        """p(z of the next token | tokens)."""
        state = self.initial
        for token in tokens:
            state = (state * self.emission[:, token]) @ self.transition
        return state / state.sum()


def random_hmm(seed: int, states: int = 3, zeros: float = 0.0) -> TinyHMM:
    """Dirichlet rows; a share `zeros` of the entries is exactly 0 (one entry of a row always stays)."""
    generator = np.random.default_rng(seed)

    def rows(count: int, width: int) -> np.ndarray:
        matrix = generator.dirichlet(np.full(width, 0.7), size=count)
        kill = generator.random(matrix.shape) < zeros
        kill[np.arange(count), generator.integers(width, size=count)] = False
        matrix = np.where(kill, 0.0, matrix + 1e-3)
        return matrix / matrix.sum(1, keepdims=True)

    return TinyHMM(rows(states, states), rows(states, VOCAB), rows(1, states)[0])


@st.composite
def dfas(draw: st.DrawFn, max_states: int = 4) -> DFA:
    """Random automata over VOCAB tokens."""
    states = draw(st.integers(1, max_states))
    classes = draw(st.integers(1, 4))
    class_of = draw(st.lists(st.integers(0, classes - 1), min_size=VOCAB, max_size=VOCAB))
    delta = draw(
        st.lists(
            st.lists(st.integers(0, states - 1), min_size=classes, max_size=classes),
            min_size=states,
            max_size=states,
        )
    )
    accepting = draw(st.lists(st.booleans(), min_size=states, max_size=states))
    return DFA(np.array(class_of), np.array(delta), 0, np.array(accepting))


@dataclass(frozen=True)
class TinyConstraint:
    """The texts that keep a constraint: accepted content of allowed length without end of text, then suffix."""

    dfa: DFA
    suffix: tuple[int, ...]
    token_range: tuple[int, int]
    prefix: tuple[int, ...] = ()

    @cached_property
    def texts(self) -> list[tuple[int, ...]]:
        least, most = self.token_range
        return [(*content, *self.suffix) for content in contents(self.dfa, self.dfa.initial, least, most)]

    def joint(self, hmm: TinyHMM) -> dict[tuple[int, ...], float]:
        """p(constraint, so far | prefix) for every beginning of a good text, the empty one included."""
        start = hmm.after(self.prefix)
        joint: dict[tuple[int, ...], float] = defaultdict(float)
        for text in self.texts:
            probability = hmm.probability(text, start)
            for length in range(len(text) + 1):
                joint[text[:length]] += probability
        return dict(joint)

    def log_ratios(self, hmm: TinyHMM) -> dict[tuple[int, ...], np.ndarray]:
        """so far -> log p(constraint, v | so far) - log p(v | so far) of every v, [V]; nan where not allowed.

        Only what goes on is there: beginnings of good texts that are not whole.
        """
        joint = self.joint(hmm)
        start = hmm.after(self.prefix)
        ratios = {}
        for so_far in joint:
            if so_far in self._whole:
                continue
            ratios[so_far] = np.full(VOCAB, np.nan)
            for token in range(VOCAB):
                longer = (*so_far, token)
                if longer in joint:
                    marginal = hmm.probability(longer, start)
                    with np.errstate(divide="ignore"):
                        ratios[so_far][token] = np.log(joint[longer] / marginal) if marginal else -np.inf
        return ratios

    @cached_property
    def _whole(self) -> frozenset[tuple[int, ...]]:
        return frozenset(self.texts)


def contents(dfa: DFA, state: int, least: int, most: int) -> Iterator[tuple[int, ...]]:
    """Token strings of `least` to `most` tokens without end of text that lead from `state` to acceptance."""
    tokens = [token for token in range(dfa.vocab_size) if token != EOS]
    for length in range(least, most + 1):
        for content in itertools.product(tokens, repeat=length):
            if dfa.accepting[dfa.run(content, state)]:
                yield content


def avoids(*forbidden: int) -> DFA:
    """Accepts contents in which none of the tokens occurs."""
    class_of = np.zeros(VOCAB, dtype=np.int32)
    class_of[list(forbidden)] = 1
    return DFA(
        class_of,
        np.array([[0, 1], [1, 1]]) if forbidden else np.array([[0], [0]]),
        0,
        np.array([True, False]),
    )


def contains(*pattern: int) -> DFA:
    """Accepts contents in which the tokens follow each other somewhere."""
    count = len(pattern)
    delta = np.zeros((count + 1, VOCAB), dtype=np.int32)
    delta[count] = count
    for matched in range(count):
        for token in range(VOCAB):
            seen = (*pattern[:matched], token)
            delta[matched, token] = max(k for k in range(matched + 2) if seen[len(seen) - k :] == pattern[:k])
    return DFA(np.arange(VOCAB, dtype=np.int32), delta, 0, np.arange(count + 1) == count)
