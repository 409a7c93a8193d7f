from __future__ import annotations

import pytest
import torch
from helpers.random_inputs.hmms import random_hmm

from ctrlg.errors import ArgumentError
from ctrlg.hmm import HMM
from ctrlg.inspection import fidelity_table, held_out_log_likelihood, kl_sequence, markdown_table
from ctrlg.quantization import quantize


def test_a_model_loses_nothing_against_itself() -> None:
    hmm = random_hmm(4, 20)
    assert kl_sequence(hmm, hmm, sequences=10, length=5) == (0.0, 0.0)


def test_kl_sequence_is_the_divergence_of_enumerated_sequences() -> None:
    hmm = random_hmm(2, 3, spread=1.0)
    hmm.eos_token_id = -5  # no padding, every token counts
    compressed = quantize(random_hmm(2, 3, spread=1.0), "norm-q", 2)
    every = torch.cartesian_prod(*[torch.arange(3)] * 4)
    p, q = hmm.log_likelihood(every).double(), compressed.log_likelihood(every).double()
    exact = float((p.exp() * (p - q)).sum()) / 4
    loss = kl_sequence(hmm, compressed, sequences=4000, length=4, seed=1)
    assert 0 < loss.error < 0.1 * exact
    assert abs(loss.mean - exact) < 4 * loss.error


def test_it_is_reproducible_by_seed() -> None:
    hmm = random_hmm(4, 20)
    compressed = quantize(hmm, "norm-q", 4)
    first, second, other = (kl_sequence(hmm, compressed, sequences=20, length=5, seed=seed) for seed in (3, 3, 4))
    assert first == second != other


def test_padding_counts_as_no_token() -> None:
    ends = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    hmm = HMM.of_parameters(ends, torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([1.0, 0.0]), eos_token_id=0)
    tokens = torch.tensor([[1, 0, 0, 0]])
    assert held_out_log_likelihood(hmm, tokens) == pytest.approx(float(torch.tensor(0.5).log()) / 2)


def test_the_table_compares_methods_with_the_float_model() -> None:
    hmm = random_hmm(12, 800, spread=3.0)
    held_out = hmm.sample(20, 8, torch.Generator().manual_seed(7))
    settings = [{"method": "norm-q", "bits": 8}, {"method": "log-norm-q", "bits": 4}]
    original, norm_q, log_norm_q = fidelity_table(hmm, settings, held_out, sequences=100, length=8)
    assert (original.method, original.bits, original.loss.mean, original.nbytes) == ("float32", 32, 0.0, hmm.nbytes)
    assert log_norm_q.loss.mean < 0.1 * norm_q.loss.mean
    assert original.held_out is not None
    assert norm_q.held_out is not None
    assert original.held_out > norm_q.held_out
    table = markdown_table([original, norm_q, log_norm_q]).splitlines()
    assert len(table) == 5
    assert all(line.count("|") == 7 for line in table)
    assert table[4].startswith("| log-norm-q | 4 | 0.0")
    assert fidelity_table(hmm, [], None, sequences=2, length=2)[0].held_out is None


@pytest.mark.parametrize("wrong", [{"sequences": 1}, {"length": 0}, {"batch_size": 0}])
def test_sizes_out_of_range_are_refused(wrong: dict) -> None:
    hmm = random_hmm(2, 3)
    with pytest.raises(ArgumentError):
        kl_sequence(hmm, hmm, **wrong)
