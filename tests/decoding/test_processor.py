"""The processor where things go wrong or are unusual: refusals, dead rows, odd scores, sizes, kept state."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.decoding_oracle import EOS, VOCAB, TinyConstraint, TinyHMM, avoids, contains, random_hmm

from ctrlg.automata.dfa import DFA
from ctrlg.compat import DFAModel
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.errors import ArgumentError, BudgetError, CtrlGError, UnsatisfiableError, VocabularyError

CONSTRAINT = TinyConstraint(contains(1), (3, EOS), (1, 4))


def build(**changes: Any) -> ConstraintLogitsProcessor:
    arguments: dict[str, Any] = {
        "hmm_model": random_hmm(0).model,
        "dfa_model": CONSTRAINT.dfa,
        "min_new_tokens": 1,
        "max_new_tokens": 4,
        "prompt_ids": [0],
        "suffix_ids": [3, EOS],
    }
    return ConstraintLogitsProcessor(**(arguments | changes))


def allowed(scores: torch.Tensor) -> list[list[int]]:
    return [row.isfinite().nonzero()[:, 0].tolist() for row in scores]


REFUSED = {
    "min above max": ({"min_new_tokens": 5}, ArgumentError, r"\[5, 4\] is no range"),
    "negative": ({"min_new_tokens": -1}, ArgumentError, "min_new_tokens is -1"),
    "a range of three": ({"token_ranges": [[1, 2, 3]]}, ArgumentError, "is no range"),
    "too short": ({"dfa_model": contains(1, 2, 1, 2, 1)}, BudgetError, "needs at least 5 tokens, max_new_tokens is 4"),
    "one of several too short": (
        {"dfa_model": contains(1, 2), "token_ranges": [[1, 4], [1, 1]]},
        BudgetError,
        "at least 2",
    ),
    "never": ({"dfa_model": contains(EOS)}, UnsatisfiableError, "no text keeps the constraint"),
    "end of text inside the suffix": ({"suffix_ids": [EOS, 3, EOS]}, ArgumentError, "before its end"),
    "suffix outside": ({"suffix_ids": [3, 9]}, VocabularyError, "suffix_ids holds token id 9"),
    "prefix outside": ({"prefix_ids": [-1]}, VocabularyError, "prefix_ids holds token id -1"),
    "vocabularies": (
        {"dfa_model": DFA(np.zeros(6, np.int32), np.array([[0]]), 0, np.array([True]))},
        VocabularyError,
        "6",
    ),
    "temperature": ({"temperature": 0.0}, ArgumentError, "temperature"),
    "no end of text": ({"hmm_model": None}, ArgumentError, "end-of-text token is not known"),
    "not an automaton": ({"dfa_model": 3}, CtrlGError, "automaton"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_when_built(name: str) -> None:
    changes, error, message = REFUSED[name]
    with pytest.raises(error, match=message) as refused:
        build(**changes)
    assert refused.value.hint


def test_fingerprints_must_agree_where_both_are_known() -> None:
    hmm, model = random_hmm(0).model, DFAModel(CONSTRAINT.dfa, VOCAB)
    hmm.fingerprint = "a" * 64
    build(hmm_model=hmm, dfa_model=model)
    model.fingerprint = "b" * 64  # type: ignore[assignment]
    with pytest.raises(VocabularyError, match=r"aaaaaaaaaaaa.*bbbbbbbbbbbb"):
        build(hmm_model=hmm, dfa_model=model)


def test_a_module_and_its_automaton_are_the_same() -> None:
    rows = torch.tensor([[0, 2], [0, 1]])
    model = DFAModel(CONSTRAINT.dfa, VOCAB)
    torch.testing.assert_close(build(dfa_model=model).log_ratio(rows), build().log_ratio(rows))


@pytest.mark.parametrize("suffix", [[], [3], [3, EOS]])
def test_only_end_of_text_ends_a_text(suffix: list[int]) -> None:
    whole = [*suffix, EOS] if EOS not in suffix else suffix
    rows = torch.tensor([[0, 1], [0, 3]])
    torch.testing.assert_close(build(suffix_ids=suffix).log_ratio(rows), build(suffix_ids=whole).log_ratio(rows))


def test_rows_that_are_over_or_broken_go_on_with_end_of_text() -> None:
    rows = torch.tensor([[0, 1, 3, EOS], [0, 2, EOS, 1], [0, EOS, EOS, EOS], [0, 2, 2, 7], [0, 1, 1, 3]])
    for processor in (build(), build(hmm_model=None, eos_token_id=EOS)):
        for scores in (processor(rows, torch.randn(5, VOCAB)), processor(rows, torch.full((5, VOCAB), -math.inf))):
            assert not scores.isnan().any()
            assert allowed(scores)[:4] == [[EOS]] * 4
            torch.testing.assert_close(scores.exp().sum(1), torch.ones(5))


def test_content_beyond_the_range_is_broken() -> None:
    scores = build()(torch.tensor([[0, 2, 2, 2, 2], [0, 1, 2, 3, 2], [0, 1, 2, 2, 3]]), torch.zeros(3, VOCAB))
    assert allowed(scores) == [[EOS], [3], [3, EOS]]
    scores = build()(torch.tensor([[0, 1, 1, 1, 1, 3], [0, 1, 1, 1, 1, 2]]), torch.zeros(2, VOCAB))
    assert allowed(scores) == [[EOS], [EOS]]


def test_where_the_hmm_sees_no_way_the_mask_decides() -> None:
    certain = TinyHMM(np.eye(2), np.array([[0.5, 0, 0.3, 0.2, 0], [0.5, 0, 0.3, 0, 0.2]]), np.array([0.5, 0.5]))
    processor = build(hmm_model=certain.model)  # it never writes token 1, and never 3 and end of text in one text
    logits = torch.randn(2, VOCAB)
    scores = processor(torch.tensor([[0], [0]]), logits)
    torch.testing.assert_close(scores[:, :4], logits[:, :4].log_softmax(1))
    assert allowed(scores) == [[0, 1, 2, 3]] * 2
    for row, expected in [([0, 1], [0, 1, 2, 3]), ([0, 1, 3], [0, 1, 2, 3, EOS]), ([0, 2, 2, 2], [1])]:
        scores = processor(torch.tensor([row]), torch.randn(1, VOCAB))
        assert not scores.isnan().any()
        assert allowed(scores) == [expected]


def test_a_soft_mask_leaves_the_language_model_alone_where_the_hmm_sees_no_way() -> None:
    certain = TinyHMM(np.eye(2), np.array([[0.5, 0, 0.3, 0.2, 0], [0.5, 0, 0.3, 0, 0.2]]), np.array([0.5, 0.5]))
    logits = torch.randn(1, VOCAB)
    soft = build(hmm_model=certain.model, soft_mask=True)
    for row in ([0], [0, 2, 2, 2], [0, 1, 1, 1, 1, 2]):  # no way for this HMM, nor for any in the last
        torch.testing.assert_close(soft(torch.tensor([row]), logits), logits.log_softmax(1))
    hmm = random_hmm(0).model
    rows = torch.tensor([[0, 1], [0, 2]])
    hard, soft = build(hmm_model=hmm), build(hmm_model=hmm, soft_mask=True)
    scores = torch.randn(2, VOCAB)
    torch.testing.assert_close(soft(rows, scores), hard(rows, scores))
    nothing = soft(torch.tensor([[0, 1, 1, 1, 1, 2], [0, 1, 1, 1, 1, 3]]), torch.full((2, VOCAB), -math.inf))
    assert allowed(nothing) == [[EOS]] * 2
    with pytest.raises(ArgumentError, match="soft mask without an HMM"):
        build(hmm_model=None, eos_token_id=EOS, soft_mask=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("hmm_model", [random_hmm(0).model, None])
def test_no_nan_leaves_whatever_comes_in(bad: float, hmm_model: Any) -> None:
    processor = build(hmm_model=hmm_model, eos_token_id=EOS)
    rows = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 1, 3], [0, 1, EOS]])
    clean = allowed(processor(rows, torch.zeros(4, VOCAB)))
    for where in [(slice(None), slice(None)), (slice(None), 1), (0, slice(None)), (1, EOS), (slice(None), slice(0, 4))]:
        logits = torch.randn(4, VOCAB)
        logits[where] = bad
        scores = processor(rows, logits)
        assert not scores.isnan().any()
        torch.testing.assert_close(scores.exp().sum(1), torch.ones(4), atol=1e-3, rtol=0)
        assert all(set(ours) <= set(others) for ours, others in zip(allowed(scores), clean, strict=True))


def test_without_the_language_model_the_hmm_decides() -> None:
    processor = build()
    rows = torch.tensor([[0, 2]])
    banned = torch.full((1, VOCAB), -math.inf)
    torch.testing.assert_close(processor(rows, banned), processor.log_ratio(rows).log_softmax(1))


def test_the_language_model_s_scores_are_left_alone() -> None:
    logits = torch.randn(3, VOCAB)
    before = logits.clone()
    build()(torch.tensor([[0, 1], [0, 2], [0, 1]]), logits)
    build(hmm_model=None, eos_token_id=EOS)(torch.tensor([[0, 1], [0, 2], [0, 1]]), logits)
    torch.testing.assert_close(logits, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_scores_come_back_in_the_type_they_came(dtype: torch.dtype) -> None:
    scores = build()(torch.tensor([[0, 1]]), torch.zeros(1, VOCAB, dtype=dtype))
    assert scores.dtype == dtype
    torch.testing.assert_close(
        scores.float(), build()(torch.tensor([[0, 1]]), torch.zeros(1, VOCAB)), atol=0.02, rtol=0
    )


def test_padded_vocabularies_are_masked_and_small_ones_refused() -> None:
    rows = torch.tensor([[0, 1], [0, 2]])
    logits = torch.randn(2, VOCAB + 3)
    scores = build()(rows, logits)
    torch.testing.assert_close(scores[:, :VOCAB], build()(rows, logits[:, :VOCAB]))
    assert torch.isneginf(scores[:, VOCAB:]).all()
    with pytest.raises(VocabularyError, match="scores 4 tokens, the HMM 5"):
        build()(rows, logits[:, :4])


def test_rows_shorter_than_the_prompt_are_refused() -> None:
    with pytest.raises(ArgumentError, match="the prompt has 3"):
        build(prompt_ids=[0, 1, 2])(torch.tensor([[0, 1]]), torch.zeros(1, VOCAB))


def test_ranges_must_fit_the_batch() -> None:
    processor = build(token_ranges=[[1, 2], [1, 3]])
    with pytest.raises(ArgumentError, match="2 token_ranges for a batch of 3 rows"):
        processor(torch.zeros(3, 1, dtype=torch.long), torch.zeros(3, VOCAB))


def test_state_is_kept_for_the_last_step_only() -> None:
    processor = build(max_new_tokens=60)
    reader = processor.reader
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        rows = torch.zeros(6, 1, dtype=torch.long)
        for _ in range(50):
            processor(rows, torch.zeros(6, VOCAB))
            assert len(reader._known) == len(reader._last.state) <= 6
            assert reader._last.predictive is not None and len(reader._last.predictive) <= 6
            order = torch.randperm(6, generator=generator)
            rows = torch.cat([rows[order], torch.randint(0, 3, (6, 1), generator=generator)], dim=1)


def test_attributes_of_ctrlg_s_tutorial_can_be_set() -> None:
    processor, rows, logits = build(), torch.tensor([[0, 1], [0, 2]]), torch.randn(2, VOCAB)
    whole = processor(rows, logits)
    processor.hmm_batch_size = 1
    torch.testing.assert_close(processor(rows, logits), whole)
    processor.temperature = 0.7
    torch.testing.assert_close(processor(rows, logits), (whole / 0.7).log_softmax(1))
    processor.temperature = -1
    with pytest.raises(ArgumentError, match="temperature"):
        processor(rows, logits)
    processor.temperature, processor.hmm_batch_size = 1.0, -2
    with pytest.raises(ArgumentError, match="hmm_batch_size is -2"):
        processor(rows, logits)


def test_no_constraint_leaves_every_content_allowed() -> None:
    scores = build(dfa_model=avoids(), min_new_tokens=0, suffix_ids=[])(torch.tensor([[0]]), torch.zeros(1, VOCAB))
    assert allowed(scores) == [list(range(VOCAB))]


def test_positions_of_a_text_without_an_hmm_and_of_a_text_that_is_no_text() -> None:
    processor = build(hmm_model=None, eos_token_id=EOS)
    along = processor.log_ratios(torch.tensor([0, 1, 2, 3, EOS]))
    for length in range(1, 6):
        torch.testing.assert_close(
            along[length - 1 : length], processor.log_ratio(torch.tensor([[0, 1, 2, 3, EOS]])[:, :length])
        )
    assert not along[-1].isfinite().any()
    with pytest.raises(ArgumentError, match="input_ids has 0 tokens in a row, the prompt has 1"):
        processor.log_ratios(torch.tensor([], dtype=torch.int64))
    with pytest.raises(ArgumentError, match="2 token_ranges for a batch of 1 rows"):
        build(token_ranges=[[1, 4], [2, 4]]).log_ratios(torch.tensor([0, 1]))
