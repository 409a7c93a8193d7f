"""Methods as codes: the same rows as the method itself leaves, for random, flat and certain ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.random_inputs.hmms import random_hmm, random_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.errors import CheckpointError
from ctrlg.quantization import METHODS, QuantizedHMM, comparison_hmm
from ctrlg.quantization.methods import Method
from ctrlg.storage.layouts import arrange

CODED = [method for method in METHODS.values() if method.coded is not None]


@pytest.mark.parametrize("method", CODED, ids=lambda method: method.name)
@settings(max_examples=30, deadline=None)
@given(
    states=st.integers(1, 9),
    size=st.integers(1, 80),
    bits=st.integers(1, 8),
    spread=st.sampled_from([0.01, 1.0, 8.0]),
    seed=st.integers(0, 999),
)
def test_codes_stand_for_what_the_method_leaves(
    method: Method, states: int, size: int, bits: int, spread: float, seed: int
) -> None:
    p = random_rows(states, size, spread, seed=seed)
    expected = method(p, bits)
    assert method.coded is not None
    rows = method.coded(p, bits)
    assert rows.codebook.shape == (2**bits,) and float(rows.codebook[0]) == 0
    torch.testing.assert_close(rows.dense(), expected, rtol=2e-6, atol=1e-9)
    for layout in ("dense", "sparse", "auto"):
        matrix = arrange(rows, bits, layout, normalised=method.normalised)
        torch.testing.assert_close(matrix.to_dense(), expected, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["norm-q-max", "matrix-max", "k-means"])
def test_they_are_saved_and_loaded(name: str, tmp_path: Path) -> None:
    made = comparison_hmm(random_hmm(5, 60), name, 3)
    assert isinstance(made, QuantizedHMM)
    made.save_pretrained(tmp_path / name)
    loaded = QuantizedHMM.from_pretrained(tmp_path / name)
    assert (loaded.method, loaded.bits) == (name, 3)
    for ours, theirs in ((loaded.transition, made.transition), (loaded.emission, made.emission)):
        torch.testing.assert_close(ours.to_dense(), theirs.to_dense(), rtol=0, atol=0)
    assert torch.equal(loaded.initial, made.initial)
    text = (tmp_path / name / "config.json").read_text()
    (tmp_path / name / "config.json").write_text(text.replace(name, "row-max"))
    with pytest.raises(CheckpointError, match="method 'row-max' is none of"):
        QuantizedHMM.from_pretrained(tmp_path / name)
