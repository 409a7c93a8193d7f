"""Ctrl-G's passes: layers and flows against the spelled out E-step, and its training step as programs write it."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.hmm_oracle import path_probabilities, random_hmm, small_expected_counts
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from ctrlg.errors import ArgumentError, VocabularyError
from ctrlg.hmm import HMM, ib_ib_bj_to_ij

quick = settings(deadline=None, max_examples=40)


def random_case(seed: int, states: int, vocabulary: int, batch: int, length: int) -> tuple[HMM, Tensor]:
    hmm = random_hmm(states, vocabulary, seed).double()
    generator = torch.Generator().manual_seed(seed + 1)
    return hmm, torch.randint(-1, vocabulary, (batch, length), generator=generator)


cases = st.builds(
    random_case, st.integers(0, 2**16), st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(1, 5)
)


def flows_of(hmm: HMM, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    shapes = (hmm.hidden_states, hmm.hidden_states), (hmm.vocab_size + 1, hmm.hidden_states), (hmm.hidden_states,)
    flows = tuple(torch.zeros(shape, dtype=hmm.beta.dtype) for shape in shapes)
    hmm.backward(tokens, hmm(tokens), *flows)
    return flows  # type: ignore[return-value]


@settings(deadline=None, max_examples=15)
@given(case=cases)
def test_layers_are_log_probabilities_of_what_follows(case: tuple[HMM, Tensor]) -> None:
    hmm, tokens = case
    *layers, log_likelihood = hmm(tokens)
    assert len(layers) == tokens.shape[1] and log_likelihood.shape == (len(tokens),)
    for row, sequence in enumerate(tokens.tolist()):
        assert float(log_likelihood[row]) == pytest.approx(math.log(sum(path_probabilities(hmm, sequence).values())))
        for back, layer in enumerate(layers):
            paths = path_probabilities(hmm, sequence[len(sequence) - 1 - back :])
            initial = hmm.initial.tolist()
            for state in range(hmm.hidden_states):
                begun = sum(value for path, value in paths.items() if path[0] == state) / initial[state]
                assert float(layer[state, row]) == pytest.approx(math.log(begun))


@quick
@given(case=cases)
def test_flows_are_expected_counts(case: tuple[HMM, Tensor]) -> None:
    hmm, tokens = case
    before = tokens.clone()
    alpha_flow, beta_flow, gamma_flow = flows_of(hmm, tokens)
    truth = small_expected_counts(hmm.inference_parameters, tokens)
    assert_close(gamma_flow, truth.initial)
    assert_close(alpha_flow * hmm.alpha_exp, truth.transition)
    assert_close(beta_flow[:-1].T, truth.emission)
    assert_close(beta_flow[-1], truth.posterior[tokens == -1].sum(0))
    assert torch.equal(tokens, before)
    again = [flow.clone() for flow in (alpha_flow, beta_flow, gamma_flow)]
    hmm.backward(tokens, hmm.forward(tokens), *again)
    assert_close(again[0], 2 * alpha_flow)  # what is there is added to


def test_float32_agrees_and_types_are_kept() -> None:
    hmm, tokens = random_case(3, 4, 5, 4, 6)
    wide = [hmm(tokens)[-1], *flows_of(hmm, tokens)]
    narrow_model = hmm.to(torch.float32)
    narrow = [narrow_model(tokens)[-1], *flows_of(narrow_model, tokens)]
    for first, second in zip(wide, narrow, strict=True):
        assert first.dtype == torch.float64 and second.dtype == torch.float32
        assert_close(first.float(), second, rtol=1e-4, atol=1e-5)


def test_impossible_sequences_count_for_nothing() -> None:
    hmm = random_hmm(2, 3, seed=0).double()
    beta = hmm.beta.clone()
    beta[:, 2] = -math.inf
    hmm.update_params(hmm.alpha_exp.data, beta.log_softmax(1), hmm.gamma.data)
    possible, impossible = torch.tensor([[0, 1, -1]]), torch.tensor([[0, 2, 1], [2, 2, -1]])
    assert hmm(impossible)[-1].isneginf().all()
    alone = flows_of(hmm, possible)
    both = flows_of(hmm, torch.cat([possible, impossible]))
    for first, second in zip(alone, both, strict=True):
        assert_close(first, second)


@quick
@given(seed=st.integers(0, 2**16))
def test_flow_along_edges(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    flow = torch.rand(3, 4, generator=generator, dtype=torch.double)
    parents = 50 * torch.randn(3, 4, generator=generator, dtype=torch.double)
    children = parents.amax(0)[:, None] + torch.randn(4, 2, generator=generator, dtype=torch.double)
    expected = torch.einsum("ib,ibj->ij", flow, (children[None] - parents[:, :, None]).exp())
    assert_close(ib_ib_bj_to_ij(flow, parents, children), expected)


def test_a_training_step_as_ctrlg_s_programs_write_it() -> None:
    """Forward, backward, the flow of missing tokens spread over all but end-of-text, pseudocounts, new parameters."""
    torch.manual_seed(0)
    hmm, pseudocount, eos = random_hmm(4, 6, seed=5), 0.001, 0
    data = hmm.sample(64, 8, torch.Generator().manual_seed(2))
    data[torch.rand(data.shape) < 0.1] = -1
    likelihoods = [hmm.loglikelihood(data, batch_size=16)]
    for _ in range(3):
        counts = small_expected_counts(hmm.inference_parameters, data)
        missing = counts.posterior[data == -1].sum(0) / (hmm.vocab_size - 1)
        alpha_flow, beta_flow, gamma_flow = torch.zeros(4, 4), torch.zeros(7, 4), torch.zeros(4)
        for batch in data.split(16):
            hmm.backward(batch, hmm.forward(batch), alpha_flow, beta_flow, gamma_flow)
        alpha_flow.mul_(hmm.alpha_exp)
        missing_flow = beta_flow[6] / 5
        beta_flow.add_(missing_flow)
        beta_flow[eos] -= missing_flow
        beta_flow[eos] = torch.maximum(beta_flow[eos], torch.tensor([1e-7]))
        beta_flow = beta_flow[:-1].permute(1, 0).contiguous()
        for flow in (alpha_flow, beta_flow, gamma_flow):
            flow += pseudocount / flow.shape[-1]
            flow.div_(flow.sum(-1, keepdim=True))
        hmm.update_params(alpha_flow, beta_flow.log_(), gamma_flow.log_())

        expected = counts.emission + missing[:, None] + pseudocount / 6
        expected[:, eos] -= missing
        assert_close(hmm.beta.exp().double(), expected / expected.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)
        moves = counts.transition + pseudocount / 4
        assert_close(hmm.alpha_exp.double(), moves / moves.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)
        likelihoods.append(hmm.loglikelihood(data, batch_size=16))
    assert likelihoods[-1] > likelihoods[0] + 1
    assert all(value.shape == (1,) for value in likelihoods)


def test_what_is_no_sequence_is_refused() -> None:
    hmm = random_hmm(2, 3, seed=1)
    for wrong in (torch.tensor([[0, 3]]), torch.tensor([[-2]]), torch.tensor([0, 1])):
        with pytest.raises(VocabularyError):
            hmm(wrong)
    with pytest.raises(ArgumentError, match="no tokens"):
        hmm(torch.zeros(2, 0, dtype=torch.long))
