"""What is computed from parameters once notices that they change, however programs change them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers.hmm_oracle import random_hmm
from torch.testing import assert_close

from ctrlg.hmm import HMM
from ctrlg.hmm.changes import Seen


def halve_in_place(hmm: HMM) -> None:
    hmm.beta.div_(2)


def write_one_entry(hmm: HMM) -> None:
    hmm.beta[0, 0] = -9.0


def replace_data(hmm: HMM) -> None:
    hmm.beta.data = torch.randn(hmm.beta.shape)


def replace_data_twice(hmm: HMM) -> None:
    """The second tensor may come to lie where the one before the first was."""
    for _ in range(20):
        hmm.beta.data = torch.randn(hmm.beta.shape)


def replace_the_parameter(hmm: HMM) -> None:
    hmm.beta = torch.nn.Parameter(torch.randn(hmm.beta.shape), requires_grad=False)


def update(hmm: HMM) -> None:
    hmm.update_params(hmm.alpha_exp, hmm.beta * 2, hmm.gamma)


def widen_and_round(hmm: HMM) -> None:
    hmm.beta.data = hmm.beta.data.double() / 3
    hmm.to(torch.float32).to("cpu")


@pytest.mark.parametrize(
    "change",
    [
        halve_in_place,
        write_one_entry,
        replace_data,
        replace_data_twice,
        replace_the_parameter,
        update,
        widen_and_round,
    ],
)
def test_emissions_follow(change: Callable[[HMM], None]) -> None:
    hmm = random_hmm(3, 5, seed=1)
    before = hmm.emission.to_dense().clone()
    assert hmm.emission is hmm.emission, "exponentiated once"
    change(hmm)
    assert not torch.allclose(hmm.emission.to_dense(), before)
    assert_close(hmm.emission.to_dense(), hmm.beta.exp())


def test_norm_q_s_quantisation_in_place() -> None:
    """As test.ipynb does it: `alpha_exp` itself is divided and rounded, `beta` and `gamma` are exponentiated copies."""
    hmm = random_hmm(4, 6, seed=2)
    tokens = torch.randint(0, 6, (9, 5))
    before = hmm.loglikelihood(tokens, batch_size=4)
    rows = [hmm.alpha_exp, hmm.beta.exp(), hmm.gamma.exp()]
    quantised = []
    for matrix in rows:
        copy = matrix.clone()
        copy = (copy / (copy.max() / 7)).round().clamp(0, 7) + 0.001 / copy.shape[-1]
        quantised.append(copy / copy.sum(-1, keepdim=True))
    alpha_flow, beta_flow, gamma_flow = rows
    for flow in (alpha_flow, beta_flow, gamma_flow):
        scale = torch.max(flow) / 7
        flow.div_(scale).round_().clamp_(0, 7)
        flow += 0.001 / flow.shape[-1]
        flow.div_(flow.sum(-1, keepdim=True))
    hmm.update_params(alpha_flow, beta_flow.log_(), gamma_flow.log_())
    expected = HMM.of_parameters(*quantised, eos_token_id=0)
    assert_close(hmm.loglikelihood(tokens, batch_size=4), expected.loglikelihood(tokens, batch_size=9))
    assert not torch.allclose(hmm.loglikelihood(tokens, batch_size=4), before)
    assert hmm.loglikelihood(tokens[:0], batch_size=4).tolist() == [0.0]


def test_several_tensors_are_one_state() -> None:
    first, second = torch.zeros(2), torch.zeros(2)
    seen = Seen(first, second)
    assert seen.same(first, second) and not seen.same(second, first)
    second.add_(1)
    assert not seen.same(first, second)
    assert Seen().same()
