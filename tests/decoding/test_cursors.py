"""Requests that come and go, scored together: the same as one processor for each."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from helpers.decoding_oracle import EOS, VOCAB, contains, random_hmm

from ctrlg.automata.dfa import DFA
from ctrlg.decoding.cursors import REMEMBERED, Cursor, CursorBatch, advance_all
from ctrlg.decoding.guides import guide_of
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.errors import ArgumentError, VocabularyError
from ctrlg.parts import Factored

PROMPT = [7, 7]


def guides(hmm: Any) -> list[tuple[Any, list[int], list[int]]]:
    """Guides of several kinds, and the prefix and suffix of each."""
    parts = Factored.of([(contains(1),), (contains(2, 0),)], VOCAB, most_nodes=1)
    asked: list[tuple[DFA | Factored, list[int], list[int], tuple[int, int]]] = [
        (contains(1), [], [2], (1, 5)),
        (contains(1, 2), [3], [0, 1], (2, 6)),
        (contains(3), [], [], (0, 24)),
        (parts, [1], [2], (1, 6)),
    ]
    return [
        (guide_of(hmm, automaton, None, suffix, [token_range], EOS), prefix, suffix)
        for automaton, prefix, suffix, token_range in asked
    ]


def by_processor(hmm: Any, guide: Any, prefix: list[int], tokens: list[int]) -> torch.Tensor:
    processor = ConstraintLogitsProcessor.from_guide(hmm, guide, PROMPT, prefix)
    return processor.log_ratio(torch.tensor([PROMPT + tokens]))[0]


@pytest.mark.parametrize("with_hmm", [True, False])
def test_rows_of_different_constraints_are_scored_as_one_by_one(with_hmm: bool) -> None:
    """Two hundred requests over four constraints, some of which go, some go back, in any order."""
    choose = random.Random(0)
    hmm = random_hmm(0).model if with_hmm else None
    kinds = guides(hmm)
    batch = CursorBatch(hmm)
    running: list[tuple[Cursor, Any, list[int]]] = []
    checked = 0
    for _ in range(200):
        guide, prefix, _ = choose.choice(kinds)
        running.append((Cursor(guide, hmm, prefix), guide, prefix))
        if len(running) > 6:
            running.pop(choose.randrange(len(running)))
        choose.shuffle(running)
        scores = batch.log_ratios([cursor for cursor, _, _ in running])
        assert scores.shape == (len(running), VOCAB)
        for row, (cursor, guide, prefix) in zip(scores, running, strict=True):
            truth = by_processor(hmm, guide, prefix, cursor.tokens)
            torch.testing.assert_close(row, truth, atol=1e-5, rtol=1e-5)
            checked += 1
        tokens = [_next(row, choose, EOS) for row in scores]
        advance_all([cursor for cursor, _, _ in running], tokens)
        back = choose.choice(running)[0]
        back.back(choose.randrange(min(3, len(back.tokens)) + 1))
    assert checked > 1000


def _next(row: torch.Tensor, choose: random.Random, end: int) -> int:
    allowed = torch.isfinite(row).nonzero()[:, 0].tolist()
    return choose.choice(allowed or [end])


def test_logits_are_joined_as_the_processor_joins_them() -> None:
    hmm = random_hmm(1).model
    logits = torch.randn(4, VOCAB + 3, generator=torch.Generator().manual_seed(0))
    logits[1, 2] = float("nan")
    cursors = []
    truth = []
    for row, (guide, prefix, _) in enumerate(guides(hmm)):
        cursors.append(Cursor(guide, hmm, prefix))
        processor = ConstraintLogitsProcessor.from_guide(hmm, guide, PROMPT, prefix, strength=1.5)
        truth.append(processor(torch.tensor([PROMPT]), logits[row : row + 1].clone())[0])
    joined = CursorBatch(hmm, strength=1.5).join(cursors, logits)
    torch.testing.assert_close(joined, torch.stack(truth), atol=1e-5, rtol=1e-5)


def test_a_text_that_is_over_allows_its_end_alone() -> None:
    hmm = random_hmm(2).model
    guide, prefix, _ = guides(hmm)[0]
    cursor, other = Cursor(guide, hmm, prefix), Cursor(guide, hmm, prefix)
    cursor.advance([1, 2, EOS])
    assert cursor.over and cursor.finished and not other.over
    joined = CursorBatch(hmm).join([cursor, other], torch.zeros(2, VOCAB))
    assert joined[0].argmax() == EOS and torch.isfinite(joined[0]).sum() == 1
    assert torch.isfinite(joined[1]).sum() > 1
    assert not torch.isfinite(CursorBatch(hmm).log_ratios([cursor])).any()
    broken = Cursor(guide, hmm, prefix)
    broken.advance([3, 2, EOS])  # without what must occur
    assert broken.over and not broken.finished


def test_going_back_any_way_leaves_no_trace() -> None:
    hmm = random_hmm(3).model
    guide, prefix, _ = guides(hmm)[2]
    cursor = Cursor(guide, hmm, prefix)
    tokens = [token % 3 for token in range(REMEMBERED + 5)]
    cursor.advance(tokens)
    for left in (REMEMBERED + 2, 4, 0):  # within what is remembered, beyond it, all
        cursor.back(len(cursor.tokens) - left)
        fresh = Cursor(guide, hmm, prefix)
        fresh.advance(tokens[:left])
        assert cursor.tokens == tokens[:left] and cursor.here.step == left
        np.testing.assert_array_equal(cursor.here.state, fresh.here.state)
        torch.testing.assert_close(cursor.here.predictive, fresh.here.predictive)
    with pytest.raises(ArgumentError, match="tokens"):
        cursor.back(1)


def test_wrong_arguments_are_named() -> None:
    hmm = random_hmm(4).model
    with pytest.raises(ArgumentError, match="2 token ranges"):
        Cursor(guide_of(hmm, contains(1), None, [2], [(1, 3), (1, 4)], EOS), hmm)
    guide, _, _ = guides(hmm)[0]
    with pytest.raises(VocabularyError, match="prefix_ids"):
        Cursor(guide, hmm, [VOCAB])
    with pytest.raises(ArgumentError, match="strength"):
        CursorBatch(hmm, strength=0)
