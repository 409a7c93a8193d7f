"""What every method of the registry constraints, held against it on random rows; and which of them EM may use."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from helpers.random_inputs.hmms import hard_rows, random_hmm, random_rows
from hypothesis import given, settings
from torch import Tensor

from ctrlg.distillation.em.settings import QuantizationSchedule
from ctrlg.errors import ArgumentError
from ctrlg.quantization import quantize
from ctrlg.quantization.methods import METHODS, Method, check_method, quantize_distributions, quantize_rows

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
FEW_BITS = st.integers(1, 8)
EVERY_METHOD = pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
NORMALISED = [name for name, method in METHODS.items() if method.normalised]
OTHERS = [name for name, method in METHODS.items() if not method.normalised]


def most_levels(rows: Tensor, method: Method) -> int:
    """Distinct values where the method says that there are few."""
    lines = {"row": rows, "column": rows.T, "matrix": rows.reshape(1, -1), None: rows[:0]}[method.levels_in]
    return max((len(line.unique()) for line in lines), default=0)


@EVERY_METHOD
@settings(deadline=None, max_examples=25)
@given(p=hard_rows(), bits=FEW_BITS)
def test_a_method_keeps_what_it_says(method: Method, p: Tensor, bits: int) -> None:
    before = p.clone()
    rows = method(p, bits)
    assert torch.equal(p, before)
    assert rows.dtype == p.dtype and rows.shape == p.shape
    assert bool((rows >= 0).all() & rows.isfinite().all())
    assert most_levels(rows, method) <= 2**bits
    if method.normalised:
        torch.testing.assert_close(rows.double().sum(1), torch.ones(len(p)).double(), rtol=0, atol=1e-5)
    if method.idempotent:
        # k-means may move a value within its bin of the histogram, 0.05 % wide
        torch.testing.assert_close(method.function(rows, bits), rows, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_called_normalised_is_not(name: str) -> None:
    flat_and_spiky = torch.cat([random_rows(15, 300, spread, seed=2) for spread in (0.0, 4.0)])
    sums = quantize_rows(flat_and_spiky, name, 2).sum(1)
    assert float((sums - 1).abs().max()) > 0.1


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.idempotent])
def test_what_is_not_called_idempotent_is_not(name: str) -> None:
    rows = METHODS[name](random_rows(20, 60, 2.0, seed=5), 5)
    assert not torch.allclose(METHODS[name].function(rows, 5), rows, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("name", ["norm-q", "norm-q-max", "matrix-max", "row-max", "log-norm-q", "k-means", "column"])
def test_nothing_possible_becomes_impossible(name: str) -> None:
    assert bool((quantize_rows(random_rows(6, 300, 4.0, seed=1), name, 2) > 0).all())


@EVERY_METHOD
def test_bits_out_of_range_are_named(method: Method) -> None:
    p = torch.full((2, 2), 0.5)
    for bits in (0, method.most_bits + 1, 2.0, True):
        with pytest.raises(ArgumentError, match=f"bits is {bits}") as refused:
            quantize_rows(p, method.name, bits)  # type: ignore[arg-type]
        assert refused.value.hint == f"a whole number from 1 to {method.most_bits}"


@EVERY_METHOD
def test_rows_that_are_no_distributions_are_named(method: Method) -> None:
    with pytest.raises(ArgumentError, match=r"row 1 sums to 0\.6"):
        method(torch.tensor([[0.5, 0.5], [0.5, 0.1]]), 4)
    with pytest.raises(ArgumentError, match="negative"):
        method(torch.tensor([[1.5, -0.5]]), 4)
    with pytest.raises(ArgumentError, match="float16"):
        method(torch.full((2, 2), 0.5, dtype=torch.float16), 4)


def test_an_unknown_method_is_answered_with_those_there_are() -> None:
    with pytest.raises(ArgumentError, match="no-method") as refused:
        quantize_rows(torch.full((2, 2), 0.5), "no-method", 4)
    assert all(name in refused.value.hint for name in METHODS)


@pytest.mark.parametrize("name", NORMALISED)
def test_em_may_use_methods_that_keep_rows_normalised(name: str) -> None:
    check_method(name, 4)
    QuantizationSchedule(5, name, 4, anneal_from=8)
    hmm = random_hmm(20, 30)
    dense = (hmm.transition.to_dense(), hmm.emission.to_dense(), hmm.initial)
    transition, emission, initial = quantize_distributions(*dense, name, 4)
    for rows in (transition, emission, initial[None]):
        torch.testing.assert_close(rows.sum(1), torch.ones(len(rows)), rtol=0, atol=1e-5)
    coded = quantize_rows(hmm.initial[None], name, 4)[0]
    assert not torch.allclose(coded, hmm.initial, rtol=1e-6)
    torch.testing.assert_close(initial, coded if METHODS[name].takes_initial else hmm.initial, rtol=0, atol=0)
    torch.testing.assert_close(quantize_distributions(*dense, name, 4, True)[2], coded, rtol=0, atol=0)
    assert quantize_distributions(*dense, name, 4, False)[2] is dense[2]


def test_the_published_methods_take_the_initial_distribution() -> None:
    assert [name for name, method in METHODS.items() if method.takes_initial] == ["norm-q", "norm-q-max"]


@pytest.mark.parametrize("name", OTHERS)
def test_em_refuses_methods_that_do_not(name: str) -> None:
    p = torch.full((2, 2), 0.5)
    with pytest.raises(ArgumentError, match="do not sum to 1") as refused:
        check_method(name, 4)
    assert all(other in refused.value.hint for other in NORMALISED)
    with pytest.raises(ArgumentError, match="do not sum to 1"):
        QuantizationSchedule(5, name, 4)
    with pytest.raises(ArgumentError, match="do not sum to 1"):
        quantize_distributions(p, p, p[0], name, 4)


def test_log_norm_q_of_a_model_is_that_of_quantize() -> None:
    hmm = random_hmm(6, 40)
    transition, emission, _ = quantize_distributions(
        hmm.transition.to_dense(), hmm.emission.to_dense(), hmm.initial, "log-norm-q", 4
    )
    dense = quantize(hmm, "log-norm-q", 4).dequantize()
    torch.testing.assert_close(transition, dense.transition.to_dense(), rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(emission, dense.emission.to_dense(), rtol=1e-5, atol=1e-8)


@EVERY_METHOD
def test_the_page_says_what_the_registry_says(method: Method) -> None:
    answers = [
        f"1 to {method.most_bits}",
        "yes" if method.normalised else "no",
        method.levels_in or "no bound",
        "yes" if method.idempotent else "no",
    ]
    assert f"| `{method.name}` | {' | '.join(answers)} |" in PAGE.read_text(encoding="utf-8")
