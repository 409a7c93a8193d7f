"""Language models and tokenizers by name, the devices they go to, and the digest that tells them apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.distillation.processes import joined_processes
from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.models import checked_device, fast_dtype, load_language_model, load_tokenizer, weights_digest
from ctrlg.quantization import load_hmm


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta"])
@pytest.mark.parametrize(
    "use",
    [
        checked_device,
        fast_dtype,
        lambda device: load_language_model("/nowhere", device),
        lambda device: load_hmm("/nowhere", device),
        lambda device: joined_processes(device, -1.0).__enter__(),
    ],
)
def test_devices_that_are_not_there_are_refused_before_anything_else(use: Callable[[str], object], name: str) -> None:
    with pytest.raises(ArgumentError, match=f"device '{name}' cannot be used.*\n  hint: cpu"):
        use(name)


def test_a_device_that_is_there_is_returned() -> None:
    assert checked_device("cpu") == checked_device(torch.device("cpu")) == torch.device("cpu")


def test_tokenizers_by_name(tmp_path: Path) -> None:
    tiny_tokenizer().save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).encode("the dog") == tiny_tokenizer().encode("the dog")
    with pytest.raises(CheckpointError, match="cannot load the tokenizer /nope"):
        load_tokenizer("/nope")
    with pytest.raises(CheckpointError, match="cannot load the language model /nope"):
        load_language_model("/nope")


def test_the_digest_tells_every_parameter_apart_and_is_that_of_a_copy() -> None:
    digest = weights_digest(tiny_language_model(20))
    assert weights_digest(tiny_language_model(20)) == digest
    for name, _ in tiny_language_model(20).named_parameters():
        model = tiny_language_model(20)
        model.get_parameter(name).data.view(-1)[0] += 1
        assert weights_digest(model) != digest
