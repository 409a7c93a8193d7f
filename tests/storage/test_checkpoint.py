from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from helpers.random_inputs.hmms import hmms, random_hmm
from hypothesis import HealthCheck, given, settings
from safetensors.torch import load_file, save_file
from torch import Tensor

from ctrlg import assets
from ctrlg.errors import CheckpointError
from ctrlg.hmm import HMM
from ctrlg.loading import embedded, load_hmm
from ctrlg.quantization import QuantizedHMM, quantize

Tensors = dict[str, Tensor]
Config = dict


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compressed HMM with a sparse emission matrix and a dense transition matrix."""
    hmm = random_hmm(8, 300, spread=3.0)
    sparse, dense = (quantize(hmm, "log-norm-q", 4, threshold=1e-4, layout=layout) for layout in ("sparse", "dense"))
    sparse.transition = dense.transition
    path = tmp_path_factory.mktemp("saved") / "model"
    sparse.save_pretrained(path)
    return path


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def rewrite(folder: Path, change: Callable[[Tensors, Config], object]) -> None:
    """Change tensors and config, and make the checksum right again: what is wrong must be seen by itself."""
    tensors, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    change(tensors, config)
    save_file(tensors, folder / "model.safetensors")
    config["sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hmm=hmms(),
    method=st.sampled_from(["norm-q", "log-norm-q"]),
    bits=st.integers(1, 8),
    layout=st.sampled_from(["auto", "dense", "sparse"]),
    initial=st.booleans(),
)
def test_what_is_saved_is_loaded(tmp_path: Path, hmm: HMM, method: str, bits: int, layout: str, initial: bool) -> None:
    model = quantize(hmm, method, bits, layout=layout, initial=initial)
    model.save_pretrained(tmp_path)
    loaded = QuantizedHMM.from_pretrained(tmp_path)
    for name in ("transition", "emission"):
        before, after = getattr(model, name), getattr(loaded, name)
        assert after.layout == before.layout
        assert torch.equal(after.to_dense(), before.to_dense())
    assert torch.equal(loaded.initial, model.initial)
    assert (loaded.coded_initial is not None) == initial
    assert json.loads((tmp_path / "config.json").read_text())["format_version"] == (2 if initial else 1)
    for name in ("method", "bits", "fingerprint", "eos_token_id", "settings", "hidden_states", "vocab_size", "nbytes"):
        assert getattr(loaded, name) == getattr(model, name)
    assert (tmp_path / "model.safetensors").stat().st_size == model.packed_nbytes


def test_the_config_states_what_the_file_holds(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    expected = {
        "kind": "quantized-hmm",
        "format_version": 1,
        "method": "log-norm-q",
        "bits": 4,
        "settings": {"threshold": 1e-4},
        "hidden_states": 8,
        "vocab_size": 300,
        "eos_token_id": 0,
        "fingerprint": "f" * 64,
        "transition": {"layout": "dense", "lines": None, "entries": 64},
    }
    assert {name: config[name] for name in expected} == expected
    assert config["emission"]["layout"] == "sparse"
    assert set(load_file(folder / "model.safetensors")) >= {"initial", "emission.codes", "emission.gap_quotients"}


def test_a_coded_initial_distribution_is_format_version_2(tmp_path: Path) -> None:
    model = quantize(random_hmm(8, 300), "log-norm-q", 4, initial=True, layout="dense")
    model.save_pretrained(tmp_path)
    tensors, config = load_file(tmp_path / "model.safetensors"), json.loads((tmp_path / "config.json").read_text())
    assert config["format_version"] == 2
    assert config["initial"] == {"layout": "dense", "lines": None, "entries": 8}
    assert {name for name in tensors if name.startswith("initial")} == {
        *("initial.codes", "initial.codebook", "initial.scale", "initial.background")
    }
    assert len(tensors["initial.codes"]) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, config: tensors.update(initial=torch.ones(8)), "holds 'initial', which is no part"),
        (lambda tensors, config: config.update(format_version=1), "holds 'initial.* which is no part"),
        (lambda tensors, config: config.pop("initial"), "initial in config.json is None"),
        (lambda tensors, config: tensors["initial.scale"].mul_(3), "initial: row 0 sums to"),
        (lambda tensors, config: tensors.pop("initial.codes"), "initial: a dense matrix holds"),
    ],
)
def test_a_damaged_coded_initial_distribution_is_refused(
    tmp_path: Path, change: Callable[[Tensors, Config], object], message: str
) -> None:
    quantize(random_hmm(8, 300), "norm-q", 4, layout="dense").save_pretrained(tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(CheckpointError, match=message):
        load_hmm(tmp_path)


def test_its_strength_is_kept(tmp_path: Path) -> None:
    model = quantize(random_hmm(8, 300), "log-norm-q", 4)
    model.strength = 1.5
    model.save_pretrained(tmp_path)
    again = QuantizedHMM.from_pretrained(tmp_path)
    assert again.strength == again.to("cpu").strength == 1.5
    for wrong in (0, -1, True, "1", float("inf"), float("nan"), None):
        rewrite(tmp_path, lambda tensors, config, wrong=wrong: config.update(strength=wrong))
        with pytest.raises(CheckpointError, match=r"strength in config\.json is"):
            load_hmm(tmp_path)


def test_the_embedded_model_is_written_byte_for_byte_as_it_lies_there(tmp_path: Path) -> None:
    folder = assets.default_hmm_path()
    load_hmm("default").save_pretrained(tmp_path)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_saving_again_replaces_the_model_and_leaves_no_other_file(folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    other = quantize(random_hmm(3, 20, seed=9), "norm-q", 4)
    other.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert load_hmm(folder).hidden_states == 3


def set_value(name: str, index: int, value: float) -> Callable[[Tensors, Config], object]:
    def change(tensors: Tensors, config: Config) -> None:
        tensors[name][index] = value

    return change


def swap_rows(name: str) -> Callable[[Tensors, Config], object]:
    def change(tensors: Tensors, config: Config) -> None:
        tensors[name] = tensors[name].flip(0).contiguous()

    return change


def cut(name: str) -> Callable[[Tensors, Config], object]:
    def change(tensors: Tensors, config: Config) -> None:
        tensors[name] = tensors[name][:-1].clone()

    return change


FAULTS: list[tuple[str, Callable[[Tensors, Config], object], str]] = [
    (
        "NaN scale",
        set_value("emission.scale", 2, float("nan")),
        "emission: scale holds a number that is negative or not",
    ),
    ("infinite scale", set_value("emission.scale", 2, float("inf")), "emission: scale"),
    ("negative scale", set_value("transition.scale", 0, -1.0), "transition: scale"),
    ("NaN background", set_value("emission.background", 1, float("nan")), "emission: background"),
    ("negative background", set_value("emission.background", 1, -1e-6), "emission: background"),
    ("NaN level", set_value("emission.codebook", 3, float("nan")), "emission: codebook"),
    ("falling codebook", set_value("emission.codebook", 3, 1e-9), "the codebook does not rise from 0"),
    ("codebook above 0", set_value("emission.codebook", 0, 1e-9), "the codebook does not rise from 0"),
    ("scaled row", set_value("emission.scale", 4, 0.9), "emission: row 4 sums to"),
    ("rows reordered", swap_rows("emission.scale"), "emission: row . sums to"),
    ("dense rows reordered", swap_rows("transition.codes"), "transition: row . sums to"),
    ("scale too short", cut("emission.scale"), "emission: scale is float32 \\[7\\], expected float32 \\[8\\]"),
    ("codes too short", cut("emission.codes"), "emission: bit-packed codes: .* bytes, expected"),
    ("dense codes too short", cut("transition.codes"), "transition: bit-packed codes: 31 bytes, expected 32"),
    ("gaps too short", cut("emission.gap_quotients"), "emission: a unary stream holds"),
    ("remainders too short", cut("emission.gap_remainders"), "emission: fields: "),
    ("counts too short", cut("emission.count_lengths"), "emission: a unary stream holds"),
    ("no entry where one is stored", set_value("emission.codes", 0, 0), "codes are out of range"),
    ("initial of NaN", set_value("initial", 0, float("nan")), "the initial distribution sums to nan"),
    ("initial not normalised", set_value("initial", 0, 0.9), "the initial distribution sums to"),
    ("initial too short", cut("initial"), "the initial distribution is not"),
    ("a tensor is missing", lambda tensors, config: tensors.pop("emission.codes"), "emission: a sparse matrix holds"),
    ("a tensor too many", lambda tensors, config: tensors.update(beta=torch.ones(1)), "holds 'beta'"),
    ("half precision", lambda tensors, config: tensors.update(initial=torch.ones(8).bfloat16()), "is torch.bfloat16"),
    ("unknown method", lambda tensors, config: config.update(method="zip"), "method 'zip'"),
    ("unknown version", lambda tensors, config: config.update(format_version=3), "format version 3 is not known"),
    ("no coded initial", lambda tensors, config: config.update(format_version=2), "holds 'initial', which is no part"),
    ("bits out of range", lambda tensors, config: config.update(bits=9), "bits in config.json is 9"),
    (
        "other bits",
        lambda tensors, config: config.update(bits=3),
        "codebook is float32 \\[16\\], expected float32 \\[8\\]",
    ),
    ("bits as text", lambda tensors, config: config.update(bits="4"), "bits in config.json is '4'"),
    ("other vocabulary", lambda tensors, config: config.update(vocab_size=299), "emission: "),
    ("other states", lambda tensors, config: config.update(hidden_states=9), "transition: scale is"),
    (
        "end of text outside",
        lambda tensors, config: config.update(eos_token_id=300),
        "eos_token_id in .*config.json is 300",
    ),
    (
        "unknown layout",
        lambda tensors, config: config["emission"].update(layout="ragged"),
        "emission in config.json is",
    ),
    ("other lines", lambda tensors, config: config["emission"].update(flip_lines(config)), "emission: "),
    ("other entries", lambda tensors, config: config["emission"].update(entries=7), "emission: "),
]


def flip_lines(config: Config) -> dict[str, str]:
    return {"lines": "rows" if config["emission"]["lines"] == "columns" else "columns"}


@pytest.mark.parametrize(("change", "message"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_damaged_checkpoint_is_refused(
    folder: Path, change: Callable[[Tensors, Config], object], message: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        QuantizedHMM.from_pretrained(folder)


def test_a_truncated_file_is_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="its header describes"):
        load_hmm(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_hmm(folder)


def test_a_change_that_leaves_a_valid_model_fails_the_checksum(folder: Path) -> None:
    config = (folder / "config.json").read_text()
    rewrite(folder, lambda tensors, config: tensors.update(initial=tensors["initial"].flip(0).contiguous()))
    (folder / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_hmm(folder)


def test_a_dense_checkpoint_is_no_compressed_one(tmp_path: Path) -> None:
    hmm = random_hmm(3, 10)
    hmm.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="no compressed HMM"):
        QuantizedHMM.from_pretrained(tmp_path)
    loaded = load_hmm(tmp_path)
    assert isinstance(loaded, HMM)
    assert torch.equal(loaded.beta, hmm.beta)


def test_load_hmm_opens_a_compressed_one(folder: Path) -> None:
    assert isinstance(load_hmm(folder), QuantizedHMM)
    assert isinstance(load_hmm(str(folder), device="cpu"), QuantizedHMM)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"kind": "cake"}'])
def test_a_foreign_config_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    for load in (load_hmm, QuantizedHMM.from_pretrained):
        with pytest.raises(CheckpointError):
            load(folder)


def test_no_checkpoint_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        QuantizedHMM.from_pretrained(tmp_path / "nothing" / "here")
    monkeypatch.setattr(embedded, "_ASSETS", tmp_path)
    with pytest.raises(CheckpointError, match="no embedded HMM"):
        load_hmm("default")
