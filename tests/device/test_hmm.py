"""HMMs on a device: likelihoods, posteriors, samples and EM are the CPU's, dense and compressed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from helpers.pretend_device import assert_same, synchronisations
from helpers.random_inputs.hmms import random_hmm
from torch import Tensor

from ctrlg.hmm import (
    HMM,
    CountSums,
    Prior,
    expected_counts,
    filter_tokens,
    log_likelihood,
    maximize,
    smooth_tokens,
    total_counts,
)
from ctrlg.quantization import quantize

STATES, VOCABULARY, LENGTH = 5, 30, 6
DENSE = random_hmm(STATES, VOCABULARY)
MODELS: dict[str, Any] = {
    "float": DENSE,
    "sparse codes": quantize(DENSE, "log-norm-q", 4, layout="sparse"),
    "dense codes": quantize(DENSE, "norm-q", 6, layout="dense"),
}


@pytest.fixture
def tokens() -> Tensor:
    """Sequences with missing tokens, int64 [7, LENGTH]."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(VOCABULARY, (7, LENGTH), generator=generator)
    return tokens.masked_fill(torch.rand(tokens.shape, generator=generator) < 0.2, -1)


def moved(name: str, device: torch.device) -> Any:
    return copy.deepcopy(MODELS[name]).to(device)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("function", [filter_tokens, smooth_tokens, log_likelihood, expected_counts])
def test_inference(device: torch.device, tokens: Tensor, name: str, function: Any) -> None:
    expected = function(MODELS[name].inference_parameters, tokens)
    assert_same(function(moved(name, device).inference_parameters, tokens.to(device)), expected)


@pytest.mark.parametrize("name", MODELS)
def test_the_model_takes_tokens_of_the_cpu(device: torch.device, tokens: Tensor, name: str) -> None:
    model = moved(name, device)
    assert_same(model.log_likelihood(tokens), MODELS[name].log_likelihood(tokens))
    assert_same(model.loglikelihood(tokens, 3), MODELS[name].loglikelihood(tokens, 3))


@pytest.mark.parametrize("name", MODELS)
def test_samples(device: torch.device, name: str) -> None:
    expected = MODELS[name].sample(9, LENGTH, torch.Generator().manual_seed(3))
    assert_same(moved(name, device).sample(9, LENGTH, torch.Generator(device).manual_seed(3)), expected)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("product_dtype", [None, torch.bfloat16])
def test_an_em_step(device: torch.device, tokens: Tensor, name: str, product_dtype: torch.dtype | None) -> None:
    prior = Prior(DENSE.emission.to_dense(), 0.5)
    expected = total_counts(MODELS[name].inference_parameters, tokens.split(3), product_dtype)
    found = total_counts(moved(name, device).inference_parameters, tokens.to(device).split(3), product_dtype)
    assert_same(tuple(found), tuple(expected), rtol=1e-4)
    on_device = Prior(prior.emission.to(device), prior.strength)
    assert_same(tuple(maximize(found, 0.01, on_device)), tuple(maximize(expected, 0.01, prior)), rtol=1e-4)


def test_an_em_step_waits_a_few_times_a_batch(device: torch.device, tokens: Tensor) -> None:
    sums = CountSums(moved("float", device).inference_parameters)
    batch = tokens.to(device)
    with synchronisations() as found:
        sums.add(batch)
    assert found.number <= 5
    assert found.largest <= 1


def test_moves_alone(device: torch.device, tokens: Tensor) -> None:
    results = []
    for model, batch in ((DENSE, tokens), (moved("float", device), tokens.to(device))):
        sums = CountSums(model.inference_parameters)
        results.append((sums.add_moves(batch), sums.add_moves_predicting(batch), *sums.total()))
    assert_same(results[1], results[0])


def test_ctrl_gs_passes(device: torch.device, tokens: Tensor) -> None:
    results = []
    for model in (DENSE, moved("float", device)):
        values = model.forward(tokens)
        flows = [
            torch.zeros(*shape, device=model.device)
            for shape in ((STATES, STATES), (VOCABULARY + 1, STATES), (STATES,))
        ]
        model.backward(tokens, values, *flows)
        results.append((*values, *flows))
    assert_same(results[1], results[0])


def test_the_emission_is_kept_until_it_changes(device: torch.device) -> None:
    model: HMM = moved("float", device)
    first = model.emission
    assert model.emission is first
    model.beta.mul_(2)
    assert model.emission is not first


@pytest.mark.parametrize("name", MODELS)
def test_checkpoints(device: torch.device, name: str, tmp_path: Any) -> None:
    model = moved(name, device)
    model.save_pretrained(tmp_path)
    read = type(model).from_pretrained(tmp_path)
    assert read.device.type == "cpu"
    for found, expected in zip(read.inference_parameters[:2], MODELS[name].inference_parameters[:2], strict=True):
        assert torch.equal(found.to_dense(), expected.to_dense())


def test_a_model_that_is_wrong_is_refused(device: torch.device) -> None:
    model = moved("float", device)
    model.check()
    model.alpha_exp[2, 0] += 1
    with pytest.raises(ValueError, match="row 2 of alpha_exp"):
        model.check()
