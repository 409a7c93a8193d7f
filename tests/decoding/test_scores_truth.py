"""Every score of every step of every text, against enumeration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from helpers.decoding_oracle import EOS, VOCAB, TinyConstraint, TinyHMM, avoids, contains, dfas, random_hmm
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ctrlg.automata.dfa import DFA
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.errors import CtrlGError

PROMPT = [7, 7]
TOLERANCE = 5e-5


def processor_of(hmm: TinyHMM, constraint: TinyConstraint, **options: Any) -> ConstraintLogitsProcessor:
    least, most = constraint.token_range
    return ConstraintLogitsProcessor(
        hmm.model, constraint.dfa, least, most, PROMPT, list(constraint.prefix), list(constraint.suffix), **options
    )


def batch(sequences: Iterable[Sequence[int]]) -> torch.Tensor:
    return torch.tensor([[*PROMPT, *tokens] for tokens in sequences])


def by_length(ratios: Mapping[tuple[int, ...], object]) -> list[list[tuple[int, ...]]]:
    lengths = sorted({len(so_far) for so_far in ratios})
    return [[so_far for so_far in ratios if len(so_far) == length] for length in lengths]


def check_scores(hmm: TinyHMM, constraint: TinyConstraint, **options: Any) -> None:
    """Walk through all beginnings of good texts, a step at a time, as a batch."""
    processor = processor_of(hmm, constraint, **options)
    ratios = constraint.log_ratios(hmm)
    for step in by_length(ratios):
        ours = processor.log_ratio(batch(step)).double().numpy()
        truth = np.array([ratios[so_far] for so_far in step])
        assert (ours <= 1e-5).all()
        assert not np.isfinite(ours[np.isnan(truth)]).any()
        np.testing.assert_allclose(ours[~np.isnan(truth)], truth[~np.isnan(truth)], atol=TOLERANCE)
    for text in constraint.texts[:: len(constraint.texts) // 4 + 1]:
        ours = processor.log_ratios(batch([text])[0]).double().numpy()
        truth = np.array([*(ratios[text[:length]] for length in range(len(text))), np.full(VOCAB, np.nan)])
        assert not np.isfinite(ours[np.isnan(truth)]).any()
        np.testing.assert_allclose(ours[~np.isnan(truth)], truth[~np.isnan(truth)], atol=TOLERANCE)


CONSTRAINTS = {
    "one keyword": TinyConstraint(contains(1), (2, EOS), (1, 4)),
    "end of text alone": TinyConstraint(contains(1), (EOS,), (0, 4)),
    "no content": TinyConstraint(avoids(), (2, EOS), (0, 0)),
    "fixed length": TinyConstraint(contains(1, 2), (0, EOS), (4, 4)),
    "suffix like content": TinyConstraint(contains(3), (3, EOS), (1, 4)),
    "suffix repeats itself": TinyConstraint(contains(1), (3, 3, EOS), (1, 4)),
    "suffix overlaps by one": TinyConstraint(avoids(2), (0, 1, 0, EOS), (0, 4)),
    "suffix is banned as content": TinyConstraint(avoids(3), (3, 0, EOS), (1, 4)),
    "with a prefix": TinyConstraint(contains(1, 1), (3, EOS), (1, 4), prefix=(0, 3, 4, 1)),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_scores_are_log_ratios_of_probabilities(name: str, seed: int) -> None:
    check_scores(random_hmm(seed), CONSTRAINTS[name])


@settings(deadline=None, max_examples=25)
@given(
    dfa=dfas(),
    seed=st.integers(0, 10_000),
    zeros=st.sampled_from([0.0, 0.0, 0.4]),
    least=st.integers(0, 3),
    more=st.integers(0, 3),
    suffix=st.lists(st.integers(0, 3), max_size=3),
    prefix=st.lists(st.integers(0, 4), max_size=2),
)
def test_scores_of_random_constraints(
    dfa: DFA, seed: int, zeros: float, least: int, more: int, suffix: list[int], prefix: list[int]
) -> None:
    hmm = random_hmm(seed, zeros=zeros)
    constraint = TinyConstraint(dfa, (*suffix, EOS), (least, min(4, least + more)), tuple(prefix))
    assume(constraint.texts)
    assume(hmm.probability(prefix, hmm.initial) > 0)
    joint = constraint.joint(hmm)
    assume(all(value > 1e-12 for value in joint.values()))
    check_scores(hmm, constraint)


def test_scores_without_kept_state_are_the_same() -> None:
    hmm, constraint = random_hmm(4), CONSTRAINTS["suffix repeats itself"]
    followed, fresh = processor_of(hmm, constraint), processor_of(hmm, constraint)
    steps = by_length(constraint.log_ratios(hmm))
    for step in steps:
        expected = followed.log_ratio(batch(step))
        torch.testing.assert_close(processor_of(hmm, constraint).log_ratio(batch(step)), expected, atol=1e-5, rtol=0)
    for step in reversed(steps):
        torch.testing.assert_close(
            fresh.log_ratio(batch(step[::-1])).flip(0), followed.log_ratio(batch(step)), atol=1e-5, rtol=0
        )


def test_rows_have_their_own_ranges() -> None:
    hmm = random_hmm(2)
    constraints = [
        TinyConstraint(contains(1), (3, EOS), token_range) for token_range in [(1, 2), (3, 4), (1, 2), (2, 4)]
    ]
    ranges = [list(constraint.token_range) for constraint in constraints]
    processor = ConstraintLogitsProcessor(
        hmm.model, constraints[0].dfa, 0, 0, PROMPT, suffix_ids=[3, EOS], token_ranges=ranges
    )
    ratios = [constraint.log_ratios(hmm) for constraint in constraints]
    beginnings = [so_far for so_far in ratios[1] if all(so_far in others for others in ratios)]
    assert max(map(len, beginnings)) == 3
    for so_far in beginnings:
        ours = processor.log_ratio(batch([so_far] * len(constraints))).double().numpy()
        truth = np.array([others[so_far] for others in ratios])
        assert not np.isfinite(ours[np.isnan(truth)]).any()
        np.testing.assert_allclose(ours[~np.isnan(truth)], truth[~np.isnan(truth)], atol=TOLERANCE)


def test_beams_of_a_prompt_share_its_range() -> None:
    hmm, dfa = random_hmm(2), contains(1)
    pairs = ConstraintLogitsProcessor(hmm.model, dfa, 0, 0, PROMPT, suffix_ids=[3], token_ranges=[[1, 2], [4, 4]])
    first = ConstraintLogitsProcessor(hmm.model, dfa, 1, 2, PROMPT, suffix_ids=[3])
    second = ConstraintLogitsProcessor(hmm.model, dfa, 4, 4, PROMPT, suffix_ids=[3])
    rows = batch([(0, 1), (1, 0), (1, 1), (0, 1), (1, 0), (0, 0)])
    ours = pairs.log_ratio(rows)
    torch.testing.assert_close(ours[:3], first.log_ratio(rows[:3]))
    torch.testing.assert_close(ours[3:], second.log_ratio(rows[3:]))


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_scoring_in_small_batches_changes_nothing(size: int) -> None:
    check_scores(random_hmm(8), CONSTRAINTS["suffix like content"], hmm_batch_size=size)


def test_probability_of_the_constraint() -> None:
    hmm = random_hmm(6)
    constraint = CONSTRAINTS["with a prefix"]
    expected = np.log(constraint.joint(hmm)[()])
    assert processor_of(hmm, constraint).log_probability == pytest.approx([expected], abs=1e-5)


def test_joined_scores_are_the_constrained_distribution() -> None:
    hmm, constraint = random_hmm(9), CONSTRAINTS["suffix like content"]
    for temperature in (1.0, 0.5):
        processor = processor_of(hmm, constraint, temperature=temperature)
        generator = torch.Generator().manual_seed(0)
        for step in by_length(constraint.log_ratios(hmm)):
            logits = torch.randn(len(step), VOCAB, generator=generator)
            expected = (logits.log_softmax(1) + processor.log_ratio(batch(step))) / temperature
            torch.testing.assert_close(processor(batch(step), logits), expected.log_softmax(1), atol=1e-5, rtol=0)


def test_a_mask_alone_keeps_the_language_model_s_odds() -> None:
    hmm, constraint = random_hmm(9), CONSTRAINTS["suffix overlaps by one"]
    masked = ConstraintLogitsProcessor(
        None, constraint.dfa, *constraint.token_range, PROMPT, suffix_ids=constraint.suffix, eos_token_id=EOS
    )
    for step in by_length(constraint.log_ratios(hmm)):
        logits = torch.randn(len(step), VOCAB)
        allowed = torch.from_numpy(~np.isnan(np.array([constraint.log_ratios(hmm)[so_far] for so_far in step])))
        expected = torch.where(allowed, logits, -torch.inf).log_softmax(1)
        torch.testing.assert_close(masked(batch(step), logits), expected)


def test_unknown_constraints_are_refused_before_any_score() -> None:
    with pytest.raises(CtrlGError, match="no text keeps the constraint"):
        processor_of(random_hmm(0), TinyConstraint(contains(EOS), (2, EOS), (0, 3)))


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.5])
def test_strength_multiplies_the_log_ratio_and_nothing_else(strength: float) -> None:
    hmm, constraint = random_hmm(9), CONSTRAINTS["suffix overlaps by one"]
    processor = processor_of(hmm, constraint, strength=strength)
    plain = processor_of(hmm, constraint)
    for step in by_length(constraint.log_ratios(hmm)):
        logits = torch.randn(len(step), VOCAB)
        ratio = plain.log_ratio(batch(step))
        torch.testing.assert_close(processor.log_ratio(batch(step)), ratio)
        torch.testing.assert_close(processor(batch(step), logits), (strength * ratio + logits).log_softmax(1))
        processor.strength = strength + 1  # as of the next call
        torch.testing.assert_close(processor(batch(step), logits), ((strength + 1) * ratio + logits).log_softmax(1))
        processor.strength = strength
