"""The HMM class: Ctrl-G's interface and checkpoints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.hmm_oracle import random_hmm
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.hmm import HMM


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    random_hmm(3, 5, seed=1).save_pretrained(tmp_path / "hmm")
    return tmp_path / "hmm"


def test_a_new_model_is_random_and_a_distribution() -> None:
    hmm = HMM(4, 9, 0)
    hmm.check()
    assert not torch.equal(hmm.alpha_exp, HMM(4, 9, 0).alpha_exp)


def test_checkpoints_keep_ctrlg_names_and_come_back_unchanged(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    assert set(tensors) == {"alpha_exp", "beta", "gamma"}
    config = json.loads((checkpoint / "config.json").read_text())
    assert {name: config[name] for name in ("hidden_states", "vocab_size", "eos_token_id")} == {
        "hidden_states": 3,
        "vocab_size": 5,
        "eos_token_id": 0,
    }
    hmm = HMM.from_pretrained(checkpoint)
    for name, tensor in tensors.items():
        assert torch.equal(getattr(hmm, name), tensor)


def test_a_checkpoint_written_by_ctrlg_loads(tmp_path: Path) -> None:
    model = random_hmm(3, 5, seed=2)
    tensors = {"alpha_exp": model.alpha_exp, "beta": model.beta, "gamma": model.gamma}
    save_file({name: tensor.data for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"hidden_states": 3, "vocab_size": 5, "eos_token_id": 4}')
    hmm = HMM.from_pretrained(tmp_path).to("cpu")
    assert (hmm.hidden_states, hmm.vocab_size, hmm.eos_token_id, hmm.fingerprint) == (3, 5, 4, None)
    assert torch.equal(hmm.beta, model.beta)


def test_loading_draws_nothing(checkpoint: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    HMM.from_pretrained(checkpoint)
    assert torch.equal(torch.get_rng_state(), before)


def test_loglikelihood_is_the_sum_whatever_the_batch() -> None:
    hmm = random_hmm(3, 5, seed=3)
    tokens = torch.randint(0, 5, (11, 6))
    total = hmm.log_likelihood(tokens).sum()
    for batch_size in (1, 4, 100):
        assert_close(hmm.loglikelihood(tokens, batch_size), total[None], rtol=1e-5, atol=1e-4)


def test_update_params_is_seen_by_the_next_call() -> None:
    hmm = random_hmm(3, 5, seed=4)
    tokens = torch.tensor([[0, 1, 2]])
    before = hmm.log_likelihood(tokens)
    other = random_hmm(3, 5, seed=5)
    hmm.update_params(other.alpha_exp.data, other.beta.data, other.gamma.data)
    assert_close(hmm.log_likelihood(tokens), other.log_likelihood(tokens))
    assert not torch.allclose(hmm.log_likelihood(tokens), before)


def damage(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    for name, tensor in changes.items():
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor
    save_file(tensors, folder / "model.safetensors")


def test_a_truncated_checkpoint_is_refused(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        HMM.from_pretrained(checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": None}, "lacks beta"),
        ({"alpha_exp": torch.full((3, 3), float("nan"))}, "row 0 of alpha_exp"),
        ({"alpha_exp": torch.eye(3) * 2}, "sums to 2"),
        ({"beta": torch.zeros(3, 4)}, r"beta in .* is F32 \[3, 4\]"),
        ({"gamma": torch.zeros(3)}, r"exp\(gamma\) is not a distribution"),
        ({"gamma": torch.full((3,), 1e30)}, r"exp\(gamma\) is not a distribution"),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    checkpoint: Path, changes: dict[str, torch.Tensor | None], message: str
) -> None:
    damage(checkpoint, **changes)
    with pytest.raises(CheckpointError, match=message):
        HMM.from_pretrained(checkpoint)


def test_a_foreign_config_is_refused(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(CheckpointError, match="hidden_states"):
        HMM.from_pretrained(checkpoint)


def test_a_name_that_is_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="nobody/nothing"):
        HMM.from_pretrained("nobody/nothing", local_files_only=True)


@pytest.mark.parametrize("sizes", [(0, 5, 0), (3, 0, 0), (3, 5, 5), (3, 5, -1)])
def test_impossible_sizes_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ArgumentError):
        HMM(*sizes)


def test_our_files_carry_a_checksum_that_is_verified(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    whole = HMM.from_pretrained(checkpoint)
    with safe_open(file, framework="pt") as content:
        assert content.metadata() == {"sha256": whole.checksum()}
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a dictionary)
    save_file({**tensors, "beta": tensors["beta"].flip(0).contiguous()}, file, {"sha256": whole.checksum()})
    with pytest.raises(CheckpointError, match="checksum"):
        HMM.from_pretrained(checkpoint)
    save_file(tensors, file)  # as Ctrl-G writes it
    assert torch.equal(HMM.from_pretrained(checkpoint).beta, whole.beta)


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": 5},
        {"fingerprint": "zzz"},
        {"eos_token_id": True},
        {"eos_token_id": -1},
        {"hidden_states": 1e30},
        {"hidden_states": 10**30},
        {"vocab_size": 10**8},
        {"vocab_size": None},
    ],
)
def test_a_config_that_does_not_fit_is_refused(checkpoint: Path, change: dict[str, object]) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError) as caught:
        HMM.from_pretrained(checkpoint)
    assert caught.value.hint
