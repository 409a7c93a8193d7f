"""The processor as programs for Ctrl-G and Norm-Q use it: what they read from it, `compute_logits`, `qbit`."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from helpers.decoding_oracle import EOS, VOCAB, TinyConstraint, contains, random_hmm
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import ctrlg
from ctrlg.compat import processor as module
from ctrlg.errors import ArgumentError
from ctrlg.quantization import quantize
from ctrlg.quantization.comparison import comparison_hmm

CONSTRAINT = TinyConstraint(contains(1), (3, EOS), (1, 4), prefix=(2, 0))
ROWS = torch.tensor([[7, 1], [7, 2], [7, 3]])


def build(hmm: Any, constraint: TinyConstraint = CONSTRAINT, **options: Any) -> ctrlg.ConstraintLogitsProcessor:
    least, most = constraint.token_range
    return ctrlg.ConstraintLogitsProcessor(
        hmm,
        ctrlg.DFAModel(constraint.dfa, VOCAB),
        least,
        most,
        [7],
        prefix_ids=list(constraint.prefix),
        suffix_ids=list(constraint.suffix),
        **options,
    )


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**16),
    suffix=st.sampled_from([(EOS,), (3, EOS), (1, 2, EOS)]),
    prefix=st.sampled_from([(), (2,), (0, 1)]),
    batch_size=st.integers(1, 5),
)
def test_logits_are_joint_and_marginal_log_probabilities(
    seed: int, suffix: tuple[int, ...], prefix: tuple[int, ...], batch_size: int
) -> None:
    hmm, constraint = random_hmm(seed), TinyConstraint(contains(1), suffix, (1, 3), prefix)
    processor = build(hmm.model, constraint)
    joint, start = constraint.joint(hmm), hmm.after(prefix)
    before = np.log(hmm.probability(prefix, hmm.initial))
    going_on = [so_far for so_far in joint if so_far not in set(constraint.texts)]
    for length in sorted({len(so_far) for so_far in going_on}):
        so_far = [tokens for tokens in going_on if len(tokens) == length]
        prefixes = [(*prefix, *tokens) for tokens in so_far]
        logits, marginals = processor.compute_logits(prefixes, [[1, 3]] * len(prefixes), batch_size)
        assert logits.shape == marginals.shape == (len(prefixes), VOCAB)
        for row, tokens in enumerate(so_far):
            for token in range(VOCAB):
                longer = (*tokens, token)
                marginal = before + np.log(hmm.probability(longer, start))
                assert float(marginals[row, token]) == pytest.approx(marginal, abs=1e-4)
                if longer in joint:
                    assert float(logits[row, token]) == pytest.approx(before + np.log(joint[longer]), abs=1e-4)
                else:
                    assert float(logits[row, token]) == np.float32(-1e30)


def test_logits_of_several_ranges_agree_with_the_processor_of_each() -> None:
    hmm = random_hmm(3).model
    both = build(hmm, token_ranges=[[1, 4], [2, 3]])
    prefixes = [(2, 0, 1), (2, 0, 2)]
    logits, _ = both.compute_logits(prefixes, [[2, 3], [1, 4]], 2)
    for row, token_range in enumerate([(2, 3), (1, 4)]):
        alone = build(hmm, TinyConstraint(contains(1), (3, EOS), token_range, prefix=(2, 0)))
        assert_close(logits[row : row + 1], alone.compute_logits(prefixes[row : row + 1], [token_range], 1)[0])


def test_a_step_of_ctrlg_s_call_follows_from_the_logits() -> None:
    """scores + joint - marginal, normalised: the processor's own call."""
    processor = build(random_hmm(4).model)
    scores = torch.randn(3, VOCAB).log_softmax(1)
    prefixes = [(*CONSTRAINT.prefix, *row[1:].tolist()) for row in ROWS]
    logits, marginals = processor.compute_logits(prefixes, [[1, 4]] * 3, 3)
    joined = (scores + logits - marginals).log_softmax(1)
    allowed = logits > -1e29
    called = processor(ROWS, scores)
    assert_close(called[allowed], joined[allowed], atol=1e-4, rtol=1e-4)
    assert torch.equal(called.isfinite(), allowed)


def test_what_was_passed_can_be_read() -> None:
    hmm, dfa = random_hmm(0).model, ctrlg.DFAModel(CONSTRAINT.dfa, VOCAB)
    processor = ctrlg.ConstraintLogitsProcessor(hmm, dfa, 1, 4, [7], suffix_ids=[EOS], qbit=0)
    assert processor.hmm_model is hmm and processor.dfa_model is dfa and processor.qbit == 0
    assert build(None, eos_token_id=EOS).hmm_model is None
    graph = ctrlg.AhoCorasickBuilder(VOCAB).build([[1]])
    from_graph = ctrlg.ConstraintLogitsProcessor(hmm, graph, 1, 4, [7], suffix_ids=[EOS])
    assert_close(from_graph.log_ratio(ROWS), processor.log_ratio(ROWS))


@pytest.mark.parametrize(
    ("prefixes", "ranges", "message"),
    [
        ([(2, 1)], [[1, 4]], r"begin with the prefix_ids \(2, 0\)"),
        ([(2, 0), (2, 0, 1)], [[1, 4]] * 2, r"lengths \[2, 3\]"),
        ([], [], "one or more"),
        ([(2, 0)], [[1, 5]], r"of \[\(1, 4\)\]"),
        ([(2, 0)], [], "for 1 prefixes"),
    ],
)
def test_other_prefixes_are_refused(prefixes: Any, ranges: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        build(random_hmm(0).model).compute_logits(prefixes, ranges, 2)


def test_without_an_hmm_or_a_batch_there_is_nothing_to_compute() -> None:
    with pytest.raises(ArgumentError, match="without an HMM"):
        build(None, eos_token_id=EOS).compute_logits([(2, 0)], [[1, 4]], 1)
    with pytest.raises(ArgumentError, match="batch_size is 0"):
        build(random_hmm(0).model).compute_logits([(2, 0)], [[1, 4]], 0)


@pytest.mark.parametrize("bits", [3, 8, 12])
def test_qbit_decodes_with_integer_products(bits: int) -> None:
    hmm = random_hmm(6, states=5).model
    processor = build(hmm, qbit=bits)
    assert processor.hmm_model is hmm
    expected = build(comparison_hmm(hmm, "integer", bits))
    scores = torch.randn(3, VOCAB)
    assert_close(processor(ROWS, scores), expected(ROWS, scores))
    assert not torch.allclose(processor(ROWS, scores).exp(), build(hmm)(ROWS, scores).exp(), atol=1e-6)


def test_fewer_bits_are_further_from_the_float_hmm() -> None:
    hmm, scores = random_hmm(8, states=5).model, torch.zeros(3, VOCAB)
    exact = build(hmm)(ROWS, scores).exp()
    errors = [float((build(hmm, qbit=bits)(ROWS, scores).exp() - exact).abs().sum()) for bits in (2, 12)]
    assert errors[0] > 10 * errors[1]


def test_qbit_is_computed_once_until_the_hmm_changes() -> None:
    hmm = random_hmm(7).model
    quantised = build(hmm, qbit=4)._hmm
    assert build(hmm, qbit=4)._hmm is quantised
    assert build(hmm, qbit=5)._hmm is not quantised
    quantised = build(hmm, qbit=4)._hmm
    hmm.alpha_exp.copy_(hmm.alpha_exp.flip(1))
    assert build(hmm, qbit=4)._hmm is not quantised
    compressed = quantize(random_hmm(9).model, "log-norm-q", 4)
    assert build(compressed, qbit=4)._hmm is build(compressed, qbit=4)._hmm
    held = len(module._KEPT)
    del hmm, compressed
    gc.collect()
    assert len(module._KEPT) < held


@pytest.mark.parametrize(("hmm", "bits"), [(random_hmm(0).model, 17), (random_hmm(0).model, -1), (None, 8)])
def test_qbit_out_of_range_or_without_an_hmm_is_refused(hmm: Any, bits: int) -> None:
    with pytest.raises(ArgumentError) as refused:
        build(hmm, qbit=bits, eos_token_id=EOS)
    assert refused.value.hint


@settings(deadline=None, max_examples=60)
@given(
    content=st.lists(st.integers(0, 2), max_size=6),
    suffix=st.lists(st.integers(0, 2), min_size=1, max_size=4),
    least=st.integers(0, 4),
)
def test_endings_that_may_have_begun(content: list[int], suffix: list[int], least: int) -> None:
    model = ctrlg.DFAModel(contains(1), VOCAB)
    states: dict[tuple[int, ...], int] = {(): model.initial_state}
    for length, token in enumerate(content, start=1):
        states[tuple(content[:length])] = model.next_state(states[tuple(content[: length - 1])], token)
    expected = [
        count
        for count in range(len(suffix))
        if count <= len(content) - least
        and content[len(content) - count :] == suffix[:count]
        and 1 in content[: len(content) - count]
    ]
    assert ctrlg.ends_at(tuple(content), suffix, least, states, model) == expected
