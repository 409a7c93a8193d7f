"""The Triton kernels, run by Triton's interpreter on the CPU, against the definitions in float64."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.matrix_algebra import SEEDS, assert_close, exact_scores, for_every_matrix, random_step
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ctrlg.decoding.choices import ExactGuide
from ctrlg.decoding.on_device import DeviceStep
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.evaluation.synthetic import SyntheticHMM, keywords_and_words
from ctrlg.kernels import entries
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.kernels.token_classes import TokenClasses
from ctrlg.matrices import CompressedMatrix, DenseMatrix

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> object:
    """Triton decides when a kernel is defined whether its interpreter runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        yield


def compressed(hidden_states: int, size: int, density: float, seed: int) -> CompressedMatrix:
    """Some rows and columns without entries, some columns with one for every state."""
    rng = torch.Generator().manual_seed(seed)
    stored = torch.rand(hidden_states, size, generator=rng) < density
    stored[:, : size // 8] = True
    stored[-1] = False
    codes = torch.randint(0, 16, (hidden_states, size), generator=rng)
    codebook = 10 ** (-4 * torch.rand(16, generator=rng))
    background = torch.rand(hidden_states, generator=rng) / size / 3
    background[0] = 0
    mass = (codebook[codes] * stored).sum(dim=1)
    scale = (1 - background * size) / mass.clamp(min=1e-30)
    rows, columns = stored.nonzero().T
    indptr = torch.zeros(hidden_states + 1, dtype=torch.int64)
    indptr[1:] = stored.sum(dim=1).cumsum(0)
    shape = (hidden_states, size)
    return CompressedMatrix.from_rows(
        indptr, columns, codes[rows, columns], scale, background, codebook, shape, normalised=False
    )


MATRICES = st.builds(
    compressed,
    st.sampled_from([1, 7, 60, 230]),
    st.sampled_from([1, 9, 70, 300]),
    st.sampled_from([0.0, 0.05, 0.6]),
    SEEDS,
)


@given(matrix=MATRICES, lanes=st.sampled_from([1, 3, 16, 70]), seed=SEEDS)
@for_every_matrix(max_examples=8)
def test_products_and_columns(matrix: CompressedMatrix, lanes: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    dense = matrix.to_dense()
    hidden_states, size = matrix.shape
    x, y = torch.rand(lanes, hidden_states, generator=rng), torch.rand(lanes, size, generator=rng)
    assert_close(matrix.left(x), x.double() @ dense.double())
    assert_close(matrix.right(y), y.double() @ dense.double().T)
    ids = torch.randint(-1, size, (lanes,), generator=rng)
    expected = torch.where((ids < 0)[:, None], 1.0, dense[:, ids].T)
    assert_close(matrix.columns(ids), expected)


@given(matrix=MATRICES, classes=st.sampled_from([1, 5, 40]), seed=SEEDS)
@for_every_matrix(max_examples=8)
def test_class_sums(matrix: CompressedMatrix, classes: int, seed: int) -> None:
    class_of = torch.randint(0, classes, (matrix.shape[1],), generator=torch.Generator().manual_seed(seed))
    one_hot = (class_of[:, None] == torch.arange(classes)).double()
    assert_close(matrix.class_sums(class_of, classes), (matrix.to_dense().double() @ one_hot).T)


@given(matrix=MATRICES, seed=SEEDS)
@for_every_matrix(max_examples=4)
def test_scores_joined_with_logits(matrix: CompressedMatrix, seed: int) -> None:
    step = random_step(*matrix.shape, seed)
    expected = exact_scores(matrix.to_dense(), step)
    assert_close(matrix.scores(step), expected)
    logits = torch.randn(expected.shape, generator=torch.Generator().manual_seed(seed))
    out = torch.full_like(logits, float("nan"))
    joined, log_sum = matrix.add_scores(logits, step, out=out)
    assert joined is out
    assert_close(joined, logits + expected)
    assert_close(log_sum, (logits + expected).logsumexp(dim=1))


def paired(step: ScoringStep, rows: Tensor) -> ScoringStep:
    """The weights of every sequence and row, spelled out."""
    weights = (step.predictive[:, None] * rows).reshape(-1, rows.shape[1])
    first = len(rows) * torch.arange(len(step.row_of))[:, None]
    return step._replace(weights=weights, row_of=torch.where(step.row_of >= 0, step.row_of + first, -1))


def check_paired_scores(matrix: CompressedMatrix | DenseMatrix, seed: int, tolerance: float = 1e-5) -> None:
    rng = torch.Generator().manual_seed(seed)
    step = random_step(*matrix.shape, seed)
    rows = torch.rand(len(step.weights), matrix.shape[0], generator=rng)
    rows[torch.rand(rows.shape, generator=rng) < 0.3] = 0
    offset = torch.randn(step.row_of.shape, generator=rng) * 20
    logits = torch.randn(len(step.predictive), matrix.shape[1], generator=rng)
    logits[:, 0], logits[0] = torch.nan, torch.inf
    joined, log_sum = matrix.add_paired_scores(
        logits, step.predictive, rows, step.row_of, offset, TokenClasses(step.class_of)
    )
    expected = exact_scores(matrix.to_dense(), paired(step, rows)) + offset[:, step.class_of]
    expected += logits.nan_to_num(nan=-torch.inf, posinf=1e3, neginf=-torch.inf)
    assert_close(joined, expected, tolerance)
    assert_close(log_sum, expected.logsumexp(dim=1), tolerance)


@given(matrix=MATRICES, seed=SEEDS)
@for_every_matrix(max_examples=4)
def test_paired_scores(matrix: CompressedMatrix, seed: int) -> None:
    assert matrix.pairs_in_one_pass
    check_paired_scores(matrix, seed)


@given(
    hidden_states=st.sampled_from([1, 30, 100]),
    size=st.sampled_from([1, 9, 300]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=SEEDS,
)
@for_every_matrix(max_examples=8)
def test_paired_scores_of_floats(hidden_states: int, size: int, dtype: torch.dtype, seed: int) -> None:
    probabilities = torch.rand(hidden_states, size, generator=torch.Generator().manual_seed(seed))
    matrix = DenseMatrix((probabilities / probabilities.sum(dim=1, keepdim=True)).to(dtype))
    assert matrix.pairs_in_one_pass
    check_paired_scores(matrix, seed, 1e-5 if dtype == torch.float32 else 2e-2)


@given(seed=SEEDS, size=st.sampled_from([1, 255, 256, 257, 900]), classes=st.sampled_from([1, 2, 30]))
@for_every_matrix(max_examples=20)
def test_tiles_hold_every_token_once(seed: int, size: int, classes: int) -> None:
    class_of = torch.randint(0, classes, (size,), generator=torch.Generator().manual_seed(seed))
    tokens, class_of_tile = TokenClasses(class_of).tiles
    tile, _ = (tokens >= 0).nonzero().T
    held = tokens[tokens >= 0].long()
    assert sorted(held.tolist()) == list(range(size))
    assert torch.equal(class_of[held], class_of_tile[tile].long())


def test_long_and_short_lists_are_all_read() -> None:
    """Lists of every length around the ends of heads and pieces."""
    lengths = [0, 1, entries.HEAD - 1, entries.HEAD, entries.HEAD + 1, entries.HEAD + entries.PIECE]
    lengths += [entries.HEAD + entries.PIECE + 1, entries.HEAD + 3 * entries.PIECE]
    starts = torch.tensor([0, *lengths]).cumsum(0)
    total = int(starts[-1])
    lists = entries.entry_lists(starts.int(), torch.arange(total).int(), torch.zeros(total, dtype=torch.uint8))
    read = torch.zeros(total, dtype=torch.int64)
    for i, length in enumerate(lengths):
        begin = int(starts[i])
        read[begin : begin + min(length, entries.HEAD)] += 1
        for piece in range(int(lists.first_piece[i]), int(lists.first_piece[i + 1])):
            assert int(lists.piece_list[piece]) == i
            first = int(lists.piece_begin[piece])
            read[first : min(first + entries.PIECE, begin + length)] += 1
    assert bool((read == 1).all())
    assert lists.longest == max(lengths)


def test_a_search_on_the_device_equals_one_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps of a whole search with a compressed HMM, by these kernels and by the host's code."""
    states, size = 40, 90
    hmm = SyntheticHMM(
        compressed(states, states, 0.3, 1), compressed(states, size, 0.2, 2), torch.full((states,), 1 / 40)
    )
    dfa = keywords_and_words(size, 2, 3)
    on_host, on_device = (
        ConstraintLogitsProcessor(hmm, dfa, 2, 5, [0], suffix_ids=[7, hmm.eos_token_id]) for _ in range(2)
    )
    guide = on_device.guide
    assert isinstance(guide, ExactGuide)
    step = DeviceStep(guide, hmm, on_device.reader.start, hmm.eos_token_id, torch.device("cpu"))
    monkeypatch.setattr(on_device, "_step_on_device", lambda device: step)
    monkeypatch.setattr(on_host, "_step_on_device", lambda device: None)
    rng = torch.Generator().manual_seed(0)
    tokens = torch.zeros(5, 1, dtype=torch.int64)
    for _ in range(4):
        logits = torch.randn(5, size, generator=rng)
        expected = on_host(tokens, logits)
        assert_close(on_device(tokens, logits), expected, 1e-4)
        parents = torch.randint(0, 5, (5,), generator=rng)
        chosen = torch.multinomial(expected.softmax(dim=1)[parents], 1, generator=rng)
        tokens = torch.cat([tokens[parents], chosen], dim=1)


def test_kernels_compile_for_a_hopper_gpu() -> None:
    """Triton's compiler needs no GPU: what the interpreter accepts is also code for sm_90."""
    program = Path(__file__).parent / "compile_for_gpu.py"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "compiled"
