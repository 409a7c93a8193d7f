"""What is sampled with the HMM itself as language model is distributed as the HMM's texts that keep the constraint."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from helpers.decoding_oracle import EOS, VOCAB, TinyConstraint, TinyHMM, contains, random_hmm

from ctrlg.decoding.processor import ConstraintLogitsProcessor

SAMPLES = 20_000
LEAST_EXPECTED = 8.0  # texts expected fewer times are counted together
CONSTRAINTS = {
    "suffix like content": TinyConstraint(contains(3), (3, EOS), (1, 4)),
    "suffix repeats itself": TinyConstraint(contains(1), (3, 3, EOS), (1, 4)),
    "with a prefix": TinyConstraint(contains(1, 2), (0, EOS), (2, 5), prefix=(0, 3, 1)),
}


def language_model(hmm: TinyHMM, constraint: TinyConstraint, so_far: tuple[int, ...]) -> np.ndarray:
    """log p(v | prefix, so far) of the HMM, [V]."""
    return np.log(hmm.after((*constraint.prefix, *so_far)) @ hmm.emission)


def sample(hmm: TinyHMM, constraint: TinyConstraint, processor: ConstraintLogitsProcessor) -> Counter[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.zeros(SAMPLES, 0, dtype=torch.long)
    while len(tokens[0]) == 0 or not bool((tokens == EOS).any(dim=1).all()):
        rows = [tuple(row) for row in tokens.tolist()]
        known = {
            row: torch.zeros(VOCAB) if EOS in row else torch.from_numpy(language_model(hmm, constraint, row))
            for row in set(rows)
        }
        scores = processor(tokens, torch.stack([known[row] for row in rows]).float())
        tokens = torch.cat([tokens, torch.multinomial(scores.exp(), 1, generator=generator)], dim=1)
    rows = [tuple(row) for row in tokens.tolist()]
    return Counter(row[: row.index(EOS) + 1] for row in rows)


def surprise(counts: Counter[tuple[int, ...]], expected: dict[tuple[int, ...], float]) -> float:
    """Standard deviations of chi-square above its mean (Wilson and Hilferty 1931); inf for an impossible text."""
    if set(counts) - set(expected):
        return math.inf
    cells: list[tuple[float, float]] = [(0.0, 0.0)]
    for text, probability in expected.items():
        seen, awaited = float(counts[text]), SAMPLES * probability
        if awaited < LEAST_EXPECTED:
            cells[0] = (cells[0][0] + seen, cells[0][1] + awaited)
        else:
            cells.append((seen, awaited))
    cells = [cell for cell in cells if cell[1] > 0]
    freedom = len(cells) - 1
    chi_square = sum((seen - awaited) ** 2 / awaited for seen, awaited in cells)
    spread = 2 / (9 * freedom)
    return ((chi_square / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


def distribution(hmm: TinyHMM, constraint: TinyConstraint) -> dict[tuple[int, ...], float]:
    joint = constraint.joint(hmm)
    return {text: joint[text] / joint[()] for text in constraint.texts}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_samples_are_texts_of_the_hmm_that_keep_the_constraint(name: str) -> None:
    hmm, constraint = random_hmm(7), CONSTRAINTS[name]
    least, most = constraint.token_range
    processor = ConstraintLogitsProcessor(
        hmm.model, constraint.dfa, least, most, [], list(constraint.prefix), list(constraint.suffix)
    )
    counts = sample(hmm, constraint, processor)
    assert len(counts) > 20
    assert surprise(counts, distribution(hmm, constraint)) < 4


def test_the_mask_alone_samples_another_distribution() -> None:
    hmm, constraint = random_hmm(7), CONSTRAINTS["suffix like content"]
    masked = ConstraintLogitsProcessor(
        None, constraint.dfa, *constraint.token_range, [], suffix_ids=constraint.suffix, eos_token_id=EOS
    )
    assert 100 < surprise(sample(hmm, constraint, masked), distribution(hmm, constraint)) < math.inf
