"""What is sampled with the HMM itself as language model is distributed as the HMM's texts that keep the promise."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from helpers.decoding_oracle import EOS, VOCAB, Promise, TinyHMM, contains, random_hmm

from ctrlg.decoding.processor import ConstraintLogitsProcessor

SAMPLES = 20_000
LEAST_EXPECTED = 8.0  # texts expected fewer times are counted together
PROMISES = {
    "suffix like content": Promise(contains(3), (3, EOS), (1, 4)),
    "suffix repeats itself": Promise(contains(1), (3, 3, EOS), (1, 4)),
    "with a prefix": Promise(contains(1, 2), (0, EOS), (2, 5), prefix=(0, 3, 1)),
}


def language_model(hmm: TinyHMM, promise: Promise, so_far: tuple[int, ...]) -> np.ndarray:
    """log p(v | prefix, so far) of the HMM, [V]."""
    return np.log(hmm.after((*promise.prefix, *so_far)) @ hmm.emission)


def sample(hmm: TinyHMM, promise: Promise, processor: ConstraintLogitsProcessor) -> Counter[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.zeros(SAMPLES, 0, dtype=torch.long)
    while len(tokens[0]) == 0 or not bool((tokens == EOS).any(dim=1).all()):
        rows = [tuple(row) for row in tokens.tolist()]
        known = {
            row: torch.zeros(VOCAB) if EOS in row else torch.from_numpy(language_model(hmm, promise, row))
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


def distribution(hmm: TinyHMM, promise: Promise) -> dict[tuple[int, ...], float]:
    joint = promise.joint(hmm)
    return {text: joint[text] / joint[()] for text in promise.texts}


@pytest.mark.parametrize("name", PROMISES)
def test_samples_are_texts_of_the_hmm_that_keep_the_promise(name: str) -> None:
    hmm, promise = random_hmm(7), PROMISES[name]
    least, most = promise.token_range
    processor = ConstraintLogitsProcessor(
        hmm.model, promise.dfa, least, most, [], list(promise.prefix), list(promise.suffix)
    )
    counts = sample(hmm, promise, processor)
    assert len(counts) > 20
    assert surprise(counts, distribution(hmm, promise)) < 4


def test_the_mask_alone_samples_another_distribution() -> None:
    hmm, promise = random_hmm(7), PROMISES["suffix like content"]
    masked = ConstraintLogitsProcessor(
        None, promise.dfa, *promise.token_range, [], suffix_ids=promise.suffix, eos_token_id=EOS
    )
    assert 100 < surprise(sample(hmm, promise, masked), distribution(hmm, promise)) < math.inf
