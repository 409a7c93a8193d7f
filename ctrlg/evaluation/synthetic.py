"""Synthetic models and constraints of a chosen size, for measuring speed: no text, only shapes and sparsity."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ctrlg.arguments import LARGEST_VOCABULARY
from ctrlg.automata.dfa import DFA
from ctrlg.errors import ArgumentError
from ctrlg.hmm.matrices import MatrixHMM
from ctrlg.kernels.reference import BLOCK_ENTRIES
from ctrlg.matrices import CompressedMatrix, DenseMatrix, StochasticMatrix

BACKGROUND_SHARE = 0.05  # of a row's mass that lies outside its stored entries
DECADES = 4.0  # between the largest and the smallest level of the codebook
INFLECTIONS = 5  # tokens that count as one keyword


@dataclass(frozen=True)
class SyntheticHMM(MatrixHMM[StochasticMatrix]):
    """An HMM of random probabilities, compressed or dense; the token `eos_token_id` is the last one.

    Attributes:
        transition: [H, H].
        emission: [H, V].
        initial: [H].
        fingerprint: of a vocabulary; None for any.
        eos_token_id: V - 1.
    """

    transition: StochasticMatrix
    emission: StochasticMatrix
    initial: Tensor
    fingerprint: str | None = None
    eos_token_id: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "eos_token_id", self.vocab_size - 1)

    def to(self, device: torch.device | str) -> SyntheticHMM:
        """The same model on another device.

        Args:
            device: to move to.
        """
        return SyntheticHMM(
            self.transition.to(device), self.emission.to(device), self.initial.to(device), self.fingerprint
        )

    def dense(self) -> SyntheticHMM:
        """The same probabilities in float32, as much memory as `float_bytes` says and little more on the way."""
        return SyntheticHMM(_dense(self.transition), _dense(self.emission), self.initial, self.fingerprint)


def float_bytes(hidden_states: int, vocab_size: int) -> int:
    """Bytes of an HMM in float32.

    Args:
        hidden_states: H.
        vocab_size: V.
    """
    return 4 * hidden_states * (hidden_states + vocab_size + 1)


def compressed_matrix(rows: int, columns: int, entries: int, bits: int, seed: int) -> CompressedMatrix:
    """Random [rows, columns] with `entries` stored codes a row on a geometric codebook and a uniform background.

    Args:
        rows: how many.
        columns: how many.
        entries: stored codes of a row.
        bits: of a code.
        seed: of everything random.
    """
    generator = np.random.default_rng(seed)
    chosen = np.stack([np.sort(generator.choice(columns, entries, replace=False)) for _ in range(rows)])
    levels = np.append(0.0, np.logspace(-DECADES, 0, 2**bits - 1))
    codes = generator.integers(1, 2**bits, size=chosen.shape)
    scale = (1 - BACKGROUND_SHARE) / levels[codes].sum(1)
    return CompressedMatrix.from_rows(
        torch.arange(rows + 1) * entries,
        torch.from_numpy(chosen.ravel()),
        torch.from_numpy(codes.ravel()),
        torch.from_numpy(scale),
        torch.full((rows,), BACKGROUND_SHARE / columns, dtype=torch.float64),
        torch.from_numpy(levels),
        (rows, columns),
    )


def synthetic_hmm(hidden_states: int, vocab_size: int, entries: int, bits: int, seed: int = 0) -> SyntheticHMM:
    """H hidden states, V tokens, about `entries` codes of `bits` bits in every row of both matrices.

    Nothing dense is made on the way.

    Args:
        hidden_states: H.
        vocab_size: V.
        entries: stored codes of a row.
        bits: of a code.
        seed: of everything random.

    Raises:
        ArgumentError: sizes below 1, V below 2, and bits outside 1 to 8.
    """
    for name, value, least, most in (
        ("hidden_states", hidden_states, 1, None),
        ("vocab_size", vocab_size, 2, LARGEST_VOCABULARY),
        ("entries", entries, 1, None),
        ("bits", bits, 1, 8),
    ):
        if value < least or (most is not None and value > most):
            raise ArgumentError(
                f"{name} is {value}", hint=f"choose {least} or more" if most is None else f"from {least} to {most}"
            )
    initial = np.random.default_rng(seed).dirichlet(np.ones(hidden_states))
    return SyntheticHMM(
        compressed_matrix(hidden_states, hidden_states, min(entries, hidden_states), bits, seed + 1),
        compressed_matrix(hidden_states, vocab_size, min(entries, vocab_size), bits, seed + 2),
        torch.from_numpy(initial).float(),
    )


def keywords_and_words(vocab_size: int, keywords: int, words: int, seed: int = 0) -> DFA:
    """Every keyword occurs and there are at most `words` words: 2^keywords * (words + 1) + 1 states.

    A keyword is any of a few tokens; a third of the tokens begin a word; the last token is never content.

    Args:
        vocab_size: V.
        keywords: how many.
        words: most words.
        seed: of everything random.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(vocab_size - 1)
    class_of = np.zeros(vocab_size, dtype=np.int32)  # class 0 continues a word, 1 begins one
    class_of[order[: vocab_size // 3]] = 1
    for keyword in range(keywords):
        class_of[order[keyword * INFLECTIONS : (keyword + 1) * INFLECTIONS]] = 2 + keyword
    class_of[-1] = 2 + keywords
    kept = np.arange(2**keywords)
    counts = words + 1
    dead = len(kept) * counts
    delta = np.full((dead + 1, 3 + keywords), dead, dtype=np.int32)
    for count in range(counts):
        here = kept * counts + count
        delta[here, 0] = here
        if count < words:
            delta[here, 1] = here + 1
            for keyword in range(keywords):
                delta[here, 2 + keyword] = (kept | 1 << keyword) * counts + count + 1
    accepting = np.zeros(dead + 1, dtype=bool)
    accepting[kept[-1] * counts : dead] = True
    return DFA(class_of, delta, 0, accepting)


def _dense(matrix: StochasticMatrix) -> DenseMatrix:
    """Decoded a few columns at a time, straight into the result."""
    rows, columns = matrix.shape
    dense = torch.empty(rows, columns, dtype=torch.float32, device=matrix.device)
    width = max(1, BLOCK_ENTRIES // rows)
    for start in range(0, columns, width):
        stop = min(start + width, columns)
        dense[:, start:stop] = matrix.column_block(start, stop, torch.float32)
    return DenseMatrix(dense)
