"""Products with operands in logarithms, exact and quantised, against what they are short for, written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from ctrlg.compat import (
    aggregate_edge_weights,
    asymq,
    distribute_state_weights,
    logsumexp,
    matmul_a_logb,
    matmul_log,
    matmul_loga_b,
    q_matmul,
    q_matmul_a_logb,
    q_matmul_log,
    q_matmul_loga_b,
    symq,
)
from ctrlg.mytest import _test_matmul_log

quick = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**20)


def operands(seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logarithms [3, 4] and [4, 5] as far from 0 as those of long texts, and probabilities of the same shapes."""
    generator = torch.Generator().manual_seed(seed)
    a, b = (30 * torch.randn(*shape, generator=generator, dtype=dtype) - 400 for shape in ((3, 4), (4, 5)))
    p, q = (torch.rand(*shape, generator=generator, dtype=dtype) for shape in ((3, 4), (4, 5)))
    return a, b, p, q


@quick
@given(seed=seeds)
def test_products_in_logarithms(seed: int) -> None:
    a, b, p, q = operands(seed)
    copies = [x.clone() for x in (a, b, p, q)]
    terms = a[:, :, None] + b[None]
    assert_close(matmul_log(a, b), torch.logsumexp(terms, 1))
    assert_close(matmul_loga_b(a, q), torch.logsumexp(a[:, :, None] + q.log()[None], 1))
    assert_close(matmul_a_logb(p, b), torch.logsumexp(p.log()[:, :, None] + b[None], 1))
    assert_close(logsumexp(a, 0), torch.logsumexp(a, 0))
    assert_close(matmul_log(a[None], b[None]), matmul_log(a, b)[None])
    assert all(torch.equal(x, copy) for x, copy in zip((a, b, p, q), copies, strict=True))


def test_what_is_impossible_is_minus_infinity_and_no_nan() -> None:
    a, b, _, q = operands(0)
    a[0], b[:, 1] = -math.inf, -math.inf
    for product in (matmul_log(a, b), matmul_loga_b(a, q)):
        assert product[0].isneginf().all() and not product.isnan().any()
    assert matmul_log(a, b)[:, 1].isneginf().all() and matmul_log(a, b)[1:, [0, 2, 3, 4]].isfinite().all()


@quick
@given(seed=seeds)
def test_sums_over_edges(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(0, 3, (7,), generator=generator)
    y = 50 * torch.randn(7, 2, generator=generator)
    out = aggregate_edge_weights(source, y, num_states=4)
    for state in range(4):
        rows = y[source == state]
        expected = torch.logsumexp(rows, 0) if len(rows) else torch.full((2,), -math.inf)
        assert_close(out[state], expected)
    assert torch.equal(distribute_state_weights(source, out), torch.stack([out[state] for state in source.tolist()]))


@quick
@given(seed=seeds, bits=st.integers(1, 16))
def test_quantised_products_round_up_on_a_grid(seed: int, bits: int) -> None:
    a, b, p, q = operands(seed)
    levels = 2**bits - 1
    rounded = [torch.ceil(x * levels) / levels for x in (p, q)]
    assert_close(q_matmul(p, q, bits), rounded[0] @ rounded[1])
    shifted_a = (a - a.amax(1, keepdim=True)).exp()
    shifted_b = (b - b.amax(0, keepdim=True)).exp()
    shift_a, shift_b = a.amax(1, keepdim=True), b.amax(0, keepdim=True)
    assert_close(q_matmul_log(a, b, bits), q_matmul(shifted_a, shifted_b, bits).log() + shift_a + shift_b)
    assert_close(q_matmul_loga_b(a, q, bits), q_matmul(shifted_a, q, bits).log() + shift_a)
    assert_close(q_matmul_a_logb(p, b, bits), q_matmul(p, shifted_b, bits).log() + shift_b)


def test_quantised_products_come_near_the_exact_ones() -> None:
    a, b = (torch.randn(*shape, generator=torch.Generator().manual_seed(1)) for shape in ((6, 7), (7, 8)))
    errors = [float((q_matmul_log(a, b, bits) - matmul_log(a, b)).abs().max()) for bits in (4, 8, 12)]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def test_scales() -> None:
    t = torch.tensor([-1.0, 0.5, 3.0])
    scale, zero_point = asymq(t, -128, 127)
    assert_close(scale, torch.tensor(4 / 255))
    assert zero_point == -128 + round(255 / 4)
    assert symq(t, 127)[0] == pytest.approx(3 / 127) and symq(-t, 127)[1] == 0


def test_the_reciprocal_scale_counts_its_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_test_matmul_log, "count", 0)
    monkeypatch.setattr(_test_matmul_log, "sum_zero_point_A", 0.0)
    a, b = torch.tensor([[0.0, -0.5]]), torch.tensor([[0.0], [-1.0]])
    value = _test_matmul_log.matmul_log(a, b)
    # codes ceil(4096 - 1/x): 4095 and ceil(4096 - e^0.5) = 4095; 4095 and ceil(4096 - e) = 4094
    exact = 1 + math.exp(-1.5)
    codes = 4095 * 4095 + 4095 * 4094
    assert _test_matmul_log.count == 1
    assert float(_test_matmul_log.sum_zero_point_A) == pytest.approx(codes - 1 / exact, rel=1e-6)
    assert value.shape == (1, 1)
