"""Compression on a device: every method, the codes, refinement and the files are the CPU's."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.pretend_device import assert_same
from helpers.random_inputs.hmms import random_hmm, random_rows
from torch import Tensor

from ctrlg.hmm import HMM
from ctrlg.inspection import fidelity_table, kl_sequence
from ctrlg.inspection.fidelity import held_out_log_likelihood
from ctrlg.quantization import METHODS, QuantizedHMM, codebook, comparison_hmm, quantize, refine
from ctrlg.quantization.baselines.integer import IntegerMatrix
from ctrlg.quantization.baselines.k_means import cluster_logs
from ctrlg.quantization.methods import quantize_distributions

STATES, VOCABULARY = 6, 40
DENSE = random_hmm(STATES, VOCABULARY, zeros=0.2)
QUANTIZED = ("norm-q", "log-norm-q")


@pytest.fixture(autouse=True)
def _short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels of log-norm-q from fewer starts: the pretend device takes 50 microseconds for an operation."""
    for name, value in (("SPANS", (3.0,)), ("PHASES", 2), ("LLOYD_STEPS", 2)):
        monkeypatch.setattr(codebook, name, value)


def dense(device: torch.device) -> HMM:
    return copy.deepcopy(DENSE).to(device)


def parts(model: Any) -> tuple[Tensor, Tensor, Tensor]:
    return model.transition.to_dense(), model.emission.to_dense(), model.initial


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_methods(device: torch.device, name: str, bits: int, dtype: torch.dtype) -> None:
    rows = random_rows(STATES, VOCABULARY, 3.0, 0, zeros=0.3).to(dtype)
    rows /= rows.sum(1, keepdim=True)
    assert_same(METHODS[name](rows.to(device), bits), METHODS[name](rows, bits))


@pytest.mark.parametrize("name", METHODS)
def test_comparison_models(device: torch.device, name: str) -> None:
    found, expected = (comparison_hmm(model, name, 4) for model in (dense(device), DENSE))
    assert_same(parts(found), parts(expected))
    moved: Any = comparison_hmm(DENSE, name, 4)
    assert_same(parts(moved.to(device)), parts(expected))


@pytest.mark.parametrize("method", QUANTIZED)
@pytest.mark.parametrize("layout", ["dense", "sparse", "auto"])
@pytest.mark.parametrize("initial", [True, False])
def test_codes(device: torch.device, method: str, layout: str, initial: bool) -> None:
    found, expected = (quantize(model, method, 4, layout=layout, initial=initial) for model in (dense(device), DENSE))
    assert found.device == device
    assert found.emission.layout == expected.emission.layout
    assert_same(parts(found), parts(expected))
    assert found.packed_nbytes == expected.packed_nbytes
    assert_same(parts(found.dequantize()), parts(expected.dequantize()))


def test_codes_within_a_budget(device: torch.device) -> None:
    budget = quantize(DENSE, "log-norm-q", 4).packed_nbytes - 40
    found, expected = (quantize(model, "log-norm-q", 4, max_bytes=budget) for model in (dense(device), DENSE))
    assert found.packed_nbytes == expected.packed_nbytes <= budget
    assert_same(parts(found), parts(expected))


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_files(device: torch.device, layout: str, tmp_path: Path) -> None:
    quantize(dense(device), "log-norm-q", 4, layout=layout).save_pretrained(tmp_path)
    expected = quantize(DENSE, "log-norm-q", 4, layout=layout)
    assert_same(parts(QuantizedHMM.from_pretrained(tmp_path, device=device)), parts(expected))
    assert_same(parts(HMM.from_pretrained(tmp_path, map_location=device)), parts(expected))


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("initial", [True, False])
def test_refinement(device: torch.device, layout: str, initial: bool) -> None:
    tokens = DENSE.sample(40, 6, torch.Generator().manual_seed(0))
    results = []
    for model, data in ((dense(device), tokens.to(device)), (DENSE, tokens)):
        coded = quantize(model, "log-norm-q", 3, layout=layout, initial=initial)
        results.append(parts(refine(coded, data, steps=2, prior=model, batch_size=16)))
    assert_same(*results, rtol=1e-4)


def test_refinement_by_a_model_of_another_device(device: torch.device) -> None:
    coded = quantize(dense(device), "log-norm-q", 3)
    found = refine(coded, DENSE, sequences=30, length=5, steps=1)
    assert_same(parts(found), parts(refine(quantize(DENSE, "log-norm-q", 3), DENSE, sequences=30, length=5, steps=1)))


@pytest.mark.parametrize("method", ["norm-q", "log-norm-q", "k-means", "row-max"])
def test_distributions_for_em(device: torch.device, method: str) -> None:
    expected = quantize_distributions(*parts(DENSE), method, 3)
    assert_same(quantize_distributions(*parts(dense(device)), method, 3), expected)


@pytest.mark.parametrize("bits", [4, 12])
def test_integer_operands(device: torch.device, bits: int) -> None:
    rows, operand = DENSE.emission.to_dense(), DENSE.initial[None]
    expected = IntegerMatrix.of_entries(rows, bits).left(operand)
    assert_same(IntegerMatrix.of_entries(rows.to(device), bits).left(operand.to(device)), expected)
    assert_same(IntegerMatrix.of_entries(rows, bits).to(device).left(operand.to(device)), expected)


def test_clusters_of_logarithms(device: torch.device) -> None:
    logs = random_rows(STATES, VOCABULARY, 3.0, 0, zeros=0.3).log()
    assert_same(tuple(cluster_logs(logs.to(device), 3)), tuple(cluster_logs(logs, 3)))


def test_fidelity(device: torch.device) -> None:
    tokens = DENSE.sample(12, 5, torch.Generator().manual_seed(1))
    setting: dict[str, Any] = {"method": "norm-q", "bits": 6}
    options: dict[str, Any] = {"sequences": 50, "length": 5}
    found, expected = (quantize(model, **setting) for model in (dense(device), DENSE))
    assert held_out_log_likelihood(found, tokens) == pytest.approx(held_out_log_likelihood(expected, tokens), rel=1e-5)
    loss = kl_sequence(dense(device), found, **options)
    assert loss == pytest.approx(kl_sequence(DENSE, expected, **options), rel=1e-3)
    rows = fidelity_table(dense(device), [setting], tokens, **options)
    assert [row.bits for row in rows] == [32, 6]
