"""What evaluation asks of a model on a device: scores of texts, answers to prompts, inspections."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from helpers.pretend_device import NAME, assert_same
from helpers.random_inputs.hmms import random_hmm
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.devices import checked_device
from ctrlg.distillation.likelihoods import language_model_log_likelihood
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.synthetic import synthetic_hmm
from ctrlg.generation import rank_generated_ids, score_generated_ids
from ctrlg.inspection.inspect import inspect_hmm, occupancy
from ctrlg.loading import load_hmm
from ctrlg.quantization import quantize
from studies.alternatives.prompting import write_asked

TOKENIZER = tiny_tokenizer()
EOS: Any = TOKENIZER.eos_token_id
CONTENTS = [(1, 2), (3, 4, 5, 6), (7,), (), (9, 9, 9)]


def model_on(device: str | torch.device) -> Any:
    return tiny_language_model(len(TOKENIZER), eos_token_id=EOS).to(device)


@pytest.mark.parametrize("suffix_only", [False, True])
def test_ranking(device: torch.device, suffix_only: bool) -> None:
    results = []
    for place in ("cpu", device):
        model = model_on(place)
        scored = score_generated_ids(model, CONTENTS, [0, 5], [8, 10], suffix_only)
        results.append((rank_generated_ids(model, CONTENTS, [0, 5], [8, 10], suffix_only), scored))
    assert results[1][0] == results[0][0]
    for found, expected in zip(results[1][1], results[0][1], strict=True):
        assert found.total == pytest.approx(expected.total, rel=1e-5)


def test_likelihoods_of_sequences(device: torch.device) -> None:
    sequences = torch.randint(1, len(TOKENIZER), (6, 5), generator=torch.Generator().manual_seed(0))
    found, expected = (
        language_model_log_likelihood(model_on(place), [[EOS]], sequences, EOS, 4) for place in (device, "cpu")
    )
    assert found == pytest.approx(expected, rel=1e-5)


def test_answers(device: torch.device) -> None:
    tokenizer = copy.deepcopy(TOKENIZER)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    chat = [{"role": "user", "content": "the dog"}]
    found, expected = (write_asked(model_on(place), tokenizer, chat, 2, 5) for place in (device, "cpu"))
    assert found.text == expected.text


@pytest.mark.parametrize("layout", ["dense", "sparse", "float"])
def test_inspection(device: torch.device, layout: str) -> None:
    hmm = random_hmm(6, 40)
    model: Any = hmm if layout == "float" else quantize(hmm, "log-norm-q", 4, layout=layout)
    moved = copy.deepcopy(model).to(device)
    assert_same(occupancy(moved, 8), occupancy(model, 8))
    found, expected = inspect_hmm(moved), inspect_hmm(model)
    torch.testing.assert_close(found.emission.entropy.cpu(), expected.emission.entropy)


def test_synthetic_models(device: torch.device) -> None:
    hmm = synthetic_hmm(6, 50, entries=5, bits=4, seed=3)
    moved = hmm.to(device)
    for name in ("transition", "emission"):
        assert_same(getattr(moved, name).to_dense(), getattr(hmm, name).to_dense())
        assert_same(getattr(moved.dense(), name).to_dense(), getattr(hmm.dense(), name).to_dense())


def test_devices_by_name(device: torch.device) -> None:
    assert checked_device(NAME).type == NAME
    assert load_hmm("default", device=device).device.type == NAME
    with pytest.raises(ArgumentError, match="nowhere"):
        checked_device("nowhere")
