"""Synthetic models, built in about a second also with 32,768 states.

Columns are chosen as a vocabulary's are used: sorted by use, the c-th of N columns is stored by a share of the rows
that falls as c^(-2/3). This is close to the embedded HMM's emission, where the most used token has an entry in 81 % of
the rows and an eighth of the tokens in none. Kernels that give each column the same share of the device suffer most.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ctrlg.evaluation.synthetic import BACKGROUND_SHARE, DECADES, SyntheticHMM
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.matrices import CompressedMatrix, DenseMatrix, StochasticMatrix

LEVELS = 256
SKEW = 3.0  # of emission columns; 1 chooses all alike

Storage = Literal["compressed", "float32", "bfloat16"]
STORAGES: tuple[Storage, ...] = ("compressed", "float32", "bfloat16")


def compressed(rows: int, columns: int, entries: int, skew: float, seed: int, device: torch.device) -> CompressedMatrix:
    """[rows, columns] with `entries` codes in every row, made on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    entries = min(entries, columns)
    # One point in each of `entries` equal parts of [0, 1], bent so that low columns are chosen more often. What falls
    # on a column that is taken moves on to the next: c_i >= c_(i-1) + 1 means that c_i - i never falls.
    steps = torch.arange(entries, dtype=torch.float64)
    points = (steps + torch.rand(rows, entries, dtype=torch.float64, generator=generator)) / entries
    chosen = (columns * points**skew).long().clamp_(max=columns - 1) - steps.long()
    chosen = chosen.cummax(dim=1).values.clamp_(min=0, max=columns - entries) + steps.long()
    chosen = torch.randperm(columns, generator=generator)[chosen].sort(dim=1).values
    levels = torch.cat([torch.zeros(1), torch.logspace(-DECADES, 0, LEVELS - 1)]).double()
    codes = torch.randint(1, LEVELS, chosen.shape, generator=generator)
    scale = (1 - BACKGROUND_SHARE) / levels[codes].sum(1)
    background = torch.full((rows,), BACKGROUND_SHARE / columns, dtype=torch.float64)
    starts = torch.arange(rows + 1) * entries
    matrix = CompressedMatrix.from_rows(
        starts, chosen.flatten(), codes.flatten(), scale, background, levels, (rows, columns)
    )
    return matrix.to(device)


def compressed_hmm(hidden_states: int, vocab_size: int, entries: int, device: torch.device) -> SyntheticHMM:
    initial = torch.rand(hidden_states, generator=torch.Generator().manual_seed(1))
    transition = compressed(hidden_states, hidden_states, entries, 1.0, 2, device)
    emission = compressed(hidden_states, vocab_size, entries, SKEW, 3, device)
    return SyntheticHMM(transition, emission, (initial / initial.sum()).to(device))


def stored_as(matrix: CompressedMatrix, storage: Storage) -> StochasticMatrix:
    """The same matrix in another form, on its device. A float matrix is decoded in blocks of columns."""
    if storage == "compressed":
        return matrix
    rows, columns = matrix.shape
    dtype = getattr(torch, storage)
    dense = torch.empty(rows, columns, dtype=dtype, device=matrix.device)
    width = max(1, 2**26 // rows)  # 256 MB of float32
    for start in range(0, columns, width):
        stop = min(start + width, columns)
        dense[:, start:stop] = matrix.column_block(start, stop, torch.float32)
    return DenseMatrix(dense)


def hmm_stored_as(hmm: SyntheticHMM, storage: Storage) -> SyntheticHMM:
    """The same model; both its matrices must be compressed ones."""
    assert isinstance(hmm.transition, CompressedMatrix) and isinstance(hmm.emission, CompressedMatrix)
    return SyntheticHMM(stored_as(hmm.transition, storage), stored_as(hmm.emission, storage), hmm.initial)


def scored(
    hidden_states: int, class_of: Tensor, beams: int, keywords: int, device: torch.device, generator: torch.Generator
) -> ScoringStep:
    """What a step passes: in each beam, tokens that continue a word, that begin one, and each keyword's lead to states
    of their own; the last class is dead."""
    live = keywords + 2
    row_of = torch.arange(beams * live, dtype=torch.int32).reshape(beams, live)
    row_of = torch.cat([row_of, torch.full((beams, 1), -1, dtype=torch.int32)], dim=1).to(device)
    predictive = torch.rand(beams, hidden_states, device=device, generator=generator)
    predictive /= predictive.sum(dim=1, keepdim=True)
    weights = torch.rand(beams * live, hidden_states, device=device, generator=generator)
    return ScoringStep(weights, predictive, row_of, class_of)
