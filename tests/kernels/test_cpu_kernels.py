"""The numba kernels against the reference ones: outputs full of NaN beforehand, every path, several threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ctrlg.kernels import cpu, cpu_kernels, lanes, log_ratios, reference, threads
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.matrices import CompressedMatrix

SEEDS = st.integers(0, 2**31)


@contextmanager
def poisoned() -> Iterator[None]:
    """New outputs are full of NaN, and small work is cut for two threads as well."""

    def full_of_nan(*shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.full(shape if isinstance(shape[0], int) else shape[0], torch.nan, dtype=dtype)

    with mock.patch.object(threads, "WORK_OF_A_THREAD", 1), mock.patch.object(cpu.torch, "empty", full_of_nan):
        yield


def random_matrix(hidden_states: int, size: int, density: float, background: float, seed: int) -> CompressedMatrix:
    rng = torch.Generator().manual_seed(seed)
    stored = torch.rand(hidden_states, size, generator=rng) < density
    stored[:, 0] |= ~stored.any(dim=1)
    codebook = torch.logspace(-6, 0, 200)
    codes = torch.randint(0, 200, (int(stored.sum()),), generator=rng)
    level_of = torch.zeros(hidden_states, size).masked_scatter(stored, codebook[codes])
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), stored.sum(dim=1).cumsum(0)])
    return CompressedMatrix.from_rows(
        indptr,
        stored.nonzero()[:, 1],
        codes,
        (1 - background) / level_of.sum(dim=1),
        torch.full((hidden_states,), background / size),
        codebook,
        (hidden_states, size),
    )


matrices = st.builds(
    random_matrix,
    st.integers(1, 70),
    st.sampled_from([1, 5, 255, 256, 257, 900]),
    st.sampled_from([0.0, 0.05, 0.6]),
    st.sampled_from([0.0, 0.01]),
    SEEDS,
)


def assert_close(given: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(given.double(), expected.double(), rtol=2e-5, atol=2e-5)


@settings(deadline=None, max_examples=40)
@given(matrix=matrices, batch=st.integers(0, 70), seed=SEEDS)
def test_products(matrix: CompressedMatrix, batch: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, matrix.shape[0], generator=rng).double()
    y = torch.rand(batch, matrix.shape[1], generator=rng).double()
    ids = torch.randint(-1, matrix.shape[1], (batch,), generator=rng)
    class_of = torch.randint(0, 5, (matrix.shape[1],), generator=rng)
    with poisoned():
        found = cpu.left(matrix, x.float()), cpu.right(matrix, y.float())
        columns, sums = cpu.columns(matrix, ids), cpu.class_sums(matrix, class_of, 5)
    assert_close(found[0], reference.left(matrix, x))
    assert_close(found[1], reference.right(matrix, y))
    assert_close(columns, reference.columns(matrix, ids))
    assert_close(sums, reference.class_sums(matrix, class_of, 5))


@settings(deadline=None, max_examples=60)
@given(
    matrix=matrices,
    batch=st.integers(0, 40),
    choices=st.integers(1, 60),
    weight_decades=st.sampled_from([0, 10, 30]),
    joined=st.booleans(),
    seed=SEEDS,
)
def test_scores(
    matrix: CompressedMatrix, batch: int, choices: int, weight_decades: int, joined: bool, seed: int
) -> None:
    """More choices than tables, few and many entries a choice, so that weights come from tables and picked."""
    rng = torch.Generator().manual_seed(seed)
    hidden_states, size = matrix.shape
    weights = torch.rand(3 * choices, hidden_states, generator=rng).double() + 1e-3
    weights *= 10 ** (-weight_decades * torch.rand(len(weights), 1, generator=rng))
    predictive = torch.rand(batch, hidden_states, generator=rng).double() + 1e-3
    predictive /= predictive.sum(dim=1, keepdim=True)
    row_of = torch.randint(-1, len(weights), (batch, choices), generator=rng)
    row_of[:, torch.rand(choices, generator=rng) < 0.2] = -1
    class_of = torch.randint(0, choices, (size,), generator=rng)
    arguments = ScoringStep(weights, predictive, row_of, class_of)
    expected = reference.scores(matrix, arguments)
    single = ScoringStep(weights.float(), predictive.float(), row_of, class_of)
    if not joined:
        with poisoned():
            assert_close(cpu.scores(matrix, single), expected)
        return
    logits = 5 * torch.randn(batch, size, generator=rng)
    expected += logits
    with poisoned():
        log_sum = cpu.add_scores(matrix, logits, single, out=logits)
    assert_close(logits, expected)
    assert_close(log_sum, expected.logsumexp(dim=1))


@pytest.mark.parametrize("direction", [-1, 1])
def test_log_sum_follows_a_peak_that_moves(direction: int) -> None:
    matrix = random_matrix(4, 3000, 0.1, 0.01, 0)
    row_of, class_of = torch.tensor([[0], [0]]), torch.zeros(3000, dtype=torch.int64)
    step = ScoringStep(torch.ones(1, 4), torch.full((2, 4), 0.25), row_of, class_of)
    logits = direction * torch.linspace(-4e4, 4e4, 3000).expand(2, -1).contiguous()
    joined, log_sum = matrix.add_scores(logits, step)
    assert_close(log_sum, joined.double().logsumexp(dim=1))


@settings(deadline=None, max_examples=30)
@given(hidden_states=st.integers(1, 40), size=st.integers(1, 400), levels=st.integers(1, 256), seed=SEEDS)
def test_decode(hidden_states: int, size: int, levels: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, levels, (hidden_states, size), generator=rng, dtype=torch.uint8)
    codebook, scale, background = (torch.rand(n, generator=rng) for n in (levels, hidden_states, hidden_states))
    start = int(torch.randint(0, size, (), generator=rng))
    with poisoned():
        block = cpu.decode(codes, codebook, scale, background, start, size)
    assert_close(block, scale[:, None] * codebook[codes[:, start:].int()] + background[:, None])


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS)
def test_log_quotients_are_exact_to_2e_6(seed: int) -> None:
    rng = np.random.default_rng(seed)
    above, below = (10 ** rng.uniform(-37, 37, (2, 1000))).astype(np.float32)
    near = above[:500] * rng.uniform(0.99, 1.01, 500).astype(np.float32)
    below[:500] = near
    expected = np.log(above.astype(np.float64)) - np.log(below.astype(np.float64))
    log_ratios.log_quotients(above, below, 1000)
    np.testing.assert_allclose(above, expected, rtol=2e-7, atol=2e-6)


def test_log_quotients_of_nothing() -> None:
    above = np.array([0, 1, 0, -1, 1, np.nan, 1e-37], np.float32)
    log_ratios.log_quotients(above, np.array([1, 0, 0, 1, -1, 1, 1e38], np.float32), 7)
    assert (above[:6] == -np.inf).all()
    assert above[6] == pytest.approx(-75 * np.log(10), rel=1e-6)


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, spread=st.sampled_from([1e-3, 1.0, 30.0, 1e4]))
def test_sum_of_exponentials(seed: int, spread: float) -> None:
    values = (spread * np.random.default_rng(seed).standard_normal(256)).astype(np.float32)
    values[::17] = -np.inf
    expected = np.exp(values.astype(np.float64) - values.max()).sum()
    assert log_ratios.sum_exp(values, values.max(), 256) == pytest.approx(expected, rel=5e-6)


def test_threads_may_call_at_once() -> None:
    matrix = random_matrix(30, 900, 0.3, 0.01, 1)
    batches = [torch.rand(40, 30, generator=torch.Generator().manual_seed(i)) for i in range(8)]
    with mock.patch.object(threads, "WORK_OF_A_THREAD", 1), ThreadPoolExecutor(4) as pool:
        found = list(pool.map(matrix.left, batches))
    for x, y in zip(batches, found, strict=True):
        assert_close(y, x @ matrix.to_dense())


def test_a_forked_process_has_threads_of_its_own() -> None:
    program = (
        "import os, torch; from ctrlg.kernels import threads; from ctrlg.matrices import CompressedMatrix\n"
        "third = torch.full((3,), 1 / 3)\n"
        "matrix = CompressedMatrix.from_rows(torch.arange(4), torch.arange(3), torch.zeros(3, dtype=torch.uint8),\n"
        "                                    third * 3, third * 0, torch.ones(1), (3, 3))\n"
        "torch.set_num_threads(2); threads.WORK_OF_A_THREAD = 1\n"
        "assert torch.equal(matrix.left(torch.eye(3)), torch.eye(3))\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(0 if torch.equal(matrix.left(torch.eye(3)), torch.eye(3)) else 1)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.stdout == "0\n", result.stderr


def test_apply_to_float32_on_the_cpu() -> None:
    assert cpu_kernels(torch.ones(1), torch.ones(1, dtype=torch.int64)) is cpu
    assert cpu_kernels(torch.ones(1), torch.ones(1, dtype=torch.float64)) is None
    assert cpu_kernels(torch.ones(1, device="meta")) is None


def test_compile_without_a_folder_for_the_cache() -> None:
    names: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x", names)  # no file, so numba finds no place for a cache
    assert lanes.compiled(names["double"])(21) == 42


def test_numba_is_imported_when_needed() -> None:
    program = "import sys, ctrlg.matrices; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
