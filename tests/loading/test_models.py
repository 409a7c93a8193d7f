"""Language models and tokenizers by name, the devices they go to, and the digest that tells them apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fuzzing import make_checkpoints
from helpers.tiny_models import tiny_language_model, tiny_tokenizer
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2Model

from ctrlg.devices import checked_device, fast_dtype
from ctrlg.distillation.processes import joined_processes
from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import load_language_model, load_tokenizer
from ctrlg.loading.model_files import checked_gguf
from ctrlg.loading.opening import weights_digest


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


@pytest.fixture
def language_model(tmp_path: Path) -> Path:
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    tiny_language_model(len(tokenizer)).save_pretrained(tmp_path)
    return tmp_path


def without(folder: Path, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("name", ["lm_head.weight", "model.norm.weight", "model.layers.0.mlp.up_proj.weight"])
def test_a_model_that_lacks_weights_is_refused_rather_than_filled_with_random_ones(
    language_model: Path, name: str
) -> None:
    without(language_model, name)
    with pytest.raises(CheckpointError, match=f"lacks 1 of its tensors, among them {name}"):
        load_language_model(language_model)


def test_a_tied_head_need_not_be_stored(language_model: Path) -> None:
    without(language_model, "lm_head.weight")
    config = json.loads((language_model / "config.json").read_text())
    (language_model / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    model, _ = load_language_model(language_model)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize(
    "claim",
    [{"vocab_size": 10**8}, {"hidden_size": 2**30}, {"num_hidden_layers": 10**9}, {"intermediate_size": 10**12}],
)
def test_sizes_that_the_files_do_not_hold_are_refused_before_memory_is_taken(
    language_model: Path, claim: dict[str, int]
) -> None:
    config = json.loads((language_model / "config.json").read_text())
    (language_model / "config.json").write_text(json.dumps(config | claim))
    with pytest.raises(CheckpointError, match="its configuration"):
        load_language_model(language_model)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"num_hidden_layers": 1}, "leaves out 9 tensors of its files, among them model.layers.1.input"),
        ({"num_hidden_layers": 0}, "num_hidden_layers 0"),
        ({"num_hidden_layers": -1}, "num_hidden_layers -1"),
        ({"max_position_embeddings": 0}, "max_position_embeddings 0"),
        ({"max_position_embeddings": -5}, "max_position_embeddings -5"),
    ],
)
def test_sizes_below_those_of_the_files_are_refused(claim: dict[str, int], message: str, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    tiny_language_model(len(tokenizer), layers=2).save_pretrained(tmp_path)
    load_language_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | claim))
    with pytest.raises(CheckpointError, match=message) as caught:
        load_language_model(tmp_path)
    assert caught.value.hint


def test_layers_left_out_of_a_model_without_its_head_are_seen(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_head=2, n_layer=2, n_positions=32)
    GPT2Model(config).save_pretrained(tmp_path)
    load_language_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict() | {"n_layer": 1}))
    with pytest.raises(CheckpointError, match=r"leaves out \d+ tensors of its files, among them (transformer\.)?h\.1"):
        load_language_model(tmp_path)


def test_weights_that_are_not_numbers_are_refused(language_model: Path) -> None:
    tensors = load_file(language_model / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, language_model / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight .* not finite"):
        load_language_model(language_model)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\x00\x00\x00" + b"\xff" * 100])
def test_damaged_gguf_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(CheckpointError, match="GGUF") as caught:
        load_language_model(tmp_path / "model.gguf")
    assert caught.value.hint


@pytest.mark.parametrize("inserted", [1, 8, 31, 32, 1000])
def test_bytes_that_came_into_a_gguf_file_are_seen(tmp_path: Path, inserted: int) -> None:
    """Wherever they lie among the tensors, which are read at other places then."""
    make_checkpoints(tmp_path)
    file = tmp_path / "gguf" / "model.gguf"
    whole = file.read_bytes()
    assert checked_gguf(file).tensors > 0
    for place in range(len(whole) // 2, len(whole), len(whole) // 20):
        file.write_bytes(whole[:place] + bytes(inserted) + whole[place:])
        with pytest.raises(CheckpointError, match=r"its tensors end at|GGUF file"):
            checked_gguf(file)
