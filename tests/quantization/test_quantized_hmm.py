from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from helpers.random_inputs.hmms import hmms, random_hmm
from hypothesis import given, settings

from ctrlg.errors import ArgumentError, VocabularyError
from ctrlg.hmm import HMM
from ctrlg.quantization import QuantizedHMM, norm_q, quantize, state_occupancy
from ctrlg.quantization.log_norm_q import log_norm_q
from ctrlg.storage.layouts import pack_matrix

METHODS = st.sampled_from(["norm-q", "log-norm-q"])


@settings(deadline=None, max_examples=30)
@given(hmm=hmms(), bits=st.integers(1, 8), layout=st.sampled_from(["auto", "dense", "sparse"]))
def test_dequantised_norm_q_is_norm_q_of_the_original(hmm: HMM, bits: int, layout: str) -> None:
    model = quantize(hmm, "norm-q", bits, layout=layout).dequantize()
    torch.testing.assert_close(model.alpha_exp, norm_q(hmm.alpha_exp, bits), rtol=0, atol=1e-6)
    torch.testing.assert_close(model.beta.exp(), norm_q(hmm.beta.exp(), bits), rtol=0, atol=1e-6)
    torch.testing.assert_close(model.initial, norm_q(hmm.initial[None], bits)[0], rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(hmm=hmms(), method=METHODS, bits=st.integers(1, 8), layout=st.sampled_from(["auto", "dense", "sparse"]))
def test_running_compressed_is_running_dequantised(hmm: HMM, method: str, bits: int, layout: str) -> None:
    compressed = quantize(hmm, method, bits, layout=layout)
    tokens = hmm.sample(5, 7, torch.Generator().manual_seed(0))
    tokens[0, 2] = -1
    tokens[1] = -1
    dense = compressed.dequantize().log_likelihood(tokens)
    torch.testing.assert_close(compressed.log_likelihood(tokens), dense, rtol=1e-5, atol=1e-4)


@settings(deadline=None, max_examples=15)
@given(hmm=hmms(), bits=st.integers(1, 8), threshold=st.sampled_from([0.0, 1e-5]))
def test_both_layouts_hold_the_same_model(hmm: HMM, bits: int, threshold: float) -> None:
    dense, sparse = (
        quantize(hmm, "log-norm-q", bits, threshold=threshold, layout=layout) for layout in ("dense", "sparse")
    )
    assert dense.emission.layout == "dense"
    assert sparse.emission.layout == "sparse"
    smaller = quantize(hmm, "log-norm-q", bits, threshold=threshold)
    for name in ("transition", "emission"):
        matrices = [getattr(model, name) for model in (dense, sparse, smaller)]
        torch.testing.assert_close(matrices[0].to_dense(), matrices[1].to_dense(), rtol=1e-5, atol=1e-12)
        sizes = [pack_matrix(matrix, bits).nbytes for matrix in matrices]
        assert sizes[2] == min(sizes)


def test_transition_and_emission_are_weighted_by_how_often_states_are_visited() -> None:
    hmm = random_hmm(6, 50)
    occupancy = state_occupancy(hmm.initial, hmm.alpha_exp)
    expected = log_norm_q(hmm.emission.to_dense(), 3, threshold=1e-3, occupancy=occupancy)
    model = quantize(hmm, "log-norm-q", 3, threshold=1e-3)
    torch.testing.assert_close(model.emission.to_dense(), expected, rtol=1e-6, atol=0)


def test_it_offers_what_an_hmm_offers() -> None:
    hmm = random_hmm(5, 30)
    model = quantize(hmm, "log-norm-q", 4)
    assert isinstance(model, QuantizedHMM)
    assert (model.hidden_states, model.vocab_size, model.eos_token_id) == (5, 30, 0)
    assert (model.method, model.bits, model.fingerprint) == ("log-norm-q", 4, hmm.fingerprint)
    assert model.transition.shape == (5, 5)
    assert model.emission.shape == (5, 30)
    torch.testing.assert_close(model.initial, hmm.initial)
    assert model.initial.dtype == torch.float32
    assert model.to("cpu").device == torch.device("cpu")
    assert model.dequantize().fingerprint == hmm.fingerprint
    tokens = model.sample(9, 6, torch.Generator().manual_seed(3))
    assert tokens.shape == (9, 6)
    assert torch.equal(tokens, model.sample(9, 6, torch.Generator().manual_seed(3)))
    torch.testing.assert_close(model.loglikelihood(tokens, 4), model.log_likelihood(tokens).sum()[None])
    with pytest.raises(VocabularyError):
        model.log_likelihood(torch.tensor([[30]]))
    assert "log-norm-q, 4 bits" in repr(model)


def test_samples_follow_the_compressed_model() -> None:
    model = quantize(random_hmm(3, 4, spread=1.0), "log-norm-q", 2)
    tokens = model.sample(4000, 2, torch.Generator().manual_seed(0))
    every_pair = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    expected = 4000 * model.log_likelihood(every_pair).exp()
    found = torch.bincount(tokens[:, 0] * 4 + tokens[:, 1], minlength=16)
    assert float(((found - expected) ** 2 / expected).sum()) < 37.7  # chi-square, 15 degrees of freedom, p = 0.001


@pytest.mark.parametrize("layout", ["auto", "dense", "sparse"])
def test_norm_q_takes_the_initial_distribution_unless_told_otherwise(layout: str) -> None:
    hmm = random_hmm(200, 60)
    coded, whole = quantize(hmm, "norm-q", 4, layout=layout), quantize(hmm, "norm-q", 4, layout=layout, initial=False)
    torch.testing.assert_close(coded.initial, norm_q(hmm.initial[None], 4)[0], rtol=1e-5, atol=1e-9)
    assert torch.equal(whole.initial, hmm.initial) and whole.coded_initial is None
    assert coded.coded_initial is not None and coded.coded_initial.shape == (1, 200)
    assert whole.packed_nbytes - coded.packed_nbytes > 100  # of 800, less a codebook and a longer header
    torch.testing.assert_close(coded.dequantize().initial, coded.initial)
    moved = coded.to("cpu")
    assert moved.coded_initial is not None and torch.equal(moved.initial, coded.initial)


def test_log_norm_q_leaves_the_initial_distribution_unless_told_otherwise() -> None:
    hmm = random_hmm(7, 12)
    coded, whole = quantize(hmm, "log-norm-q", 2, initial=True), quantize(hmm, "log-norm-q", 2)
    assert torch.equal(whole.initial, hmm.initial) and whole.coded_initial is None
    torch.testing.assert_close(coded.initial, log_norm_q(hmm.initial[None], 2)[0], rtol=1e-5, atol=1e-9)
    assert coded.coded_initial is not None


def test_it_takes_less_memory_and_less_disk() -> None:
    hmm = random_hmm(16, 4000, spread=3.0)
    model = quantize(hmm, "log-norm-q", 4, threshold=1e-5)
    assert model.nbytes == model.transition.nbytes + model.emission.nbytes + 4 * 16
    assert model.packed_nbytes < 0.7 * model.nbytes
    assert model.nbytes < 0.2 * hmm.nbytes


@pytest.mark.parametrize("share", [0.02, 0.05, 0.08])
def test_a_budget_is_met_and_used(share: float) -> None:
    hmm = random_hmm(16, 4000, spread=3.0)
    max_bytes = int(share * hmm.nbytes)
    model = quantize(hmm, "log-norm-q", 4, max_bytes=max_bytes)
    assert 0.93 * max_bytes <= model.packed_nbytes <= max_bytes


def test_a_generous_budget_keeps_whatever_helps() -> None:
    hmm = random_hmm(4, 60)
    model = quantize(hmm, "log-norm-q", 4, max_bytes=10**6)
    assert model.settings["threshold"] <= 1e-12


def test_a_budget_that_cannot_be_met_names_what_can() -> None:
    hmm = random_hmm(4, 60)
    with pytest.raises(ArgumentError, match=r"max_bytes is 100, the smallest result takes \d+"):
        quantize(hmm, "log-norm-q", 4, max_bytes=100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "row-max"}, "method is 'row-max'"),
        ({"method": "k-means", "threshold": 1e-6}, "k-means has no threshold"),
        ({"bits": 0}, "bits is 0"),
        ({"bits": 9}, "bits is 9"),
        ({"layout": "ragged"}, "layout is 'ragged'"),
        ({"method": "norm-q", "threshold": 1e-6}, "norm-q has no threshold"),
        ({"method": "norm-q", "max_bytes": 1000}, "norm-q has no threshold"),
        ({"method": "log-norm-q", "eps": 1e-6}, "log-norm-q has no eps"),
        ({"method": "log-norm-q", "threshold": 1e-6, "max_bytes": 1000}, "both"),
        ({"method": "log-norm-q", "threshold": -1.0}, "threshold is -1"),
        ({"method": "log-norm-q", "max_bytes": 0}, "max_bytes is 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        quantize(random_hmm(3, 10), **arguments)


def test_parts_that_do_not_fit_together_are_refused() -> None:
    small, large = quantize(random_hmm(3, 10), "norm-q"), quantize(random_hmm(4, 10), "norm-q")
    with pytest.raises(ArgumentError, match="transition"):
        QuantizedHMM(small.transition, large.emission, large.initial, 0, method="norm-q", bits=8)
    with pytest.raises(ArgumentError, match="eos_token_id 10"):
        QuantizedHMM(small.transition, small.emission, small.initial, 10, method="norm-q", bits=8)
    coded = large.coded_initial
    assert coded is not None
    with pytest.raises(ArgumentError, match=r"coded initial distribution \(1, 4\)"):
        QuantizedHMM(small.transition, small.emission, coded, 0, method="norm-q", bits=8)
