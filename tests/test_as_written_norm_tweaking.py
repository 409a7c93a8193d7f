"""The commands of the norm-tweaking repository's README, as they are written there, on tiny models of two families."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_tokenizer
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).parents[1]
LENGTH = 24


def gpt2(vocab_size: int) -> GPT2LMHeadModel:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": LENGTH}
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocab_size, initializer_range=0.3, **sizes))


def llama(vocab_size: int) -> LlamaForCausalLM:
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=vocab_size, max_position_embeddings=LENGTH, initializer_range=0.3, **sizes)
    )


@pytest.fixture(scope="module", params=[gpt2, llama], ids=["gpt2", "llama"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with a model whose name is that of its folder."""
    folder = tmp_path_factory.mktemp("norm-tweaking")
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    model = request.param(len(tokenizer)).eval()
    for config in (model.config, model.generation_config):
        config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder / "tiny" / "model")
    tokenizer.save_pretrained(folder / "tiny" / "model")
    (folder / "wiki.txt").write_text("the dog runs in the park, and a cat sits there. " * 3)
    return folder


def run(command: str, place: Path) -> subprocess.CompletedProcess[str]:
    """A command line of the repository, in a folder of the user's."""
    program, *arguments = command.removeprefix("python ").split()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, str(ROOT / program), *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_as_written(place: Path) -> None:
    """Generate; tweak; search a grid by a text; read the models with plain transformers."""
    command = "python examples/generate_data.py --model tiny/model --save_dir data/ --device cpu --num_samples 5"
    made = run(command, place)
    assert made.returncode == 0, made.stderr
    [data] = (place / "data").iterdir()
    assert data.name == f"normtweaking_calibration_data_tiny-model_{LENGTH}token_5samples.safetensors"
    assert data.name in made.stdout
    tensors = load_file(data)
    assert tensors.keys() == {f"sample_{index}" for index in range(5)}
    assert {(tensor.dtype, tuple(tensor.shape)) for tensor in tensors.values()} == {(torch.int64, (LENGTH,))}

    command = f"python examples/tweak_model.py --model tiny/model --data data/{data.name}"
    tweaked = run(command, place)
    assert tweaked.returncode == 0, tweaked.stderr
    saved = re.search(r"saved: (models/\S+)", tweaked.stdout)
    assert saved is not None
    assert difference(place / saved[1], place / "tiny/model") > 0

    command += " --save_dir models --device cpu --grid-search-lr 0 0.01 --grid-search-scale 0.5 5"
    found = run(f"{command} --perplexity-text wiki.txt {other_quantizer(place)}", place)
    assert found.returncode == 0, found.stderr
    table = re.findall(r"^([\d.e-]+) +([\d.]+) +([\d.]+)$", found.stdout, re.MULTILINE)
    assert {row[:2] for row in table} == {("0", "0.5"), ("0.01", "0.5"), ("0.01", "5")}
    assert [float(row[2]) for row in table] == sorted(float(row[2]) for row in table)
    best = re.search(r"best: lr (\S+), scale (\S+), in (\S+)", found.stdout)
    assert best is not None
    assert (best[1], best[2]) == table[0][:2]
    assert best[3] != saved[1]
    AutoModelForCausalLM.from_pretrained(place / best[3])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Bad arguments end with code 2 and a hint, before anything is written."""
    found = run("python examples/tweak_model.py --model gpt2 --data none.safetensors --save_dir models", tmp_path)
    assert found.returncode == 2
    assert "none.safetensors" in found.stderr
    assert "hint" in found.stderr
    assert not list(tmp_path.iterdir())


def other_quantizer(place: Path) -> str:
    """Options for a file of weights as transformers saves the bare model, and for k-means."""
    model = AutoModelForCausalLM.from_pretrained(place / "tiny/model")
    if model.config.model_type != "gpt2":
        return "--quantizer k-means --nbits 2 --group-size 4"
    model.transformer.save_pretrained(place / "bare")
    return "--quantizer precomputed --precomputed-tensors-path bare/model.safetensors"


def difference(one: Path, other: Path) -> float:
    """Largest of the logits of two models."""
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (one, other)]
    tokens = torch.arange(3, 3 + LENGTH)[None]
    with torch.no_grad():
        return float((models[0](tokens).logits - models[1](tokens).logits).abs().max())
