"""Speed of the operations of a compressed matrix beside torch.matmul, scipy.sparse and torch.sparse.

    python benchmarks/matrix_kernels.py --beams 16 128 --repeats 20

Times are wall-clock milliseconds of one call, the least and the median of all repeats; the others' are medians of the
same run, and the ratio is theirs over ours. scipy and torch.sparse multiply by the stored entries alone, without the
background. Every product is compared with the dense one before it is timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.devices import wait_for
from ctrlg.evaluation.synthetic import compressed_matrix, keywords_and_words
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.matrices import CompressedMatrix
from ctrlg.terminal.flags import PlainArgumentParser, add_device_flag

TOLERANCE = 1e-4
"""Largest relative difference between a product and the dense one."""


class Timing(NamedTuple):
    """Milliseconds of one call; `others` are medians by name."""

    operation: str
    least: float
    median: float
    others: dict[str, float]


class Sparse(NamedTuple):
    """The stored entries of a matrix [H, N] in other libraries' forms, transposed: [N, H] by rows."""

    torch_csr: Tensor
    scipy_csr: Any


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    emission = compressed_matrix(
        arguments.hidden_states, arguments.vocab_size, arguments.entries, arguments.bits, arguments.seed
    ).to(arguments.device)
    transition = compressed_matrix(
        arguments.hidden_states, arguments.hidden_states, arguments.entries, arguments.bits, arguments.seed + 1
    ).to(arguments.device)
    print(
        f"H={arguments.hidden_states}, V={arguments.vocab_size}, {arguments.entries} codes of {arguments.bits} bits "
        f"a row: {(emission.nbytes + transition.nbytes) / 1e6:.2f} MB; {arguments.threads} threads, {arguments.device}"
    )
    timings = [time_steps(emission, beams, arguments) for beams in arguments.beams]
    timings.append(time_look_ahead(emission, transition, arguments))
    results = [timing for group in timings for timing in group]
    for timing in results:
        show(timing)
    if arguments.json:
        arguments.json.write_text(json.dumps([timing._asdict() for timing in results], indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hidden-states", type=int, default=4096)
    parser.add_argument("--vocab-size", type=int, default=50257)
    parser.add_argument("--entries", type=int, default=150, help="stored codes in every row of both matrices")
    parser.add_argument("--bits", type=int, default=8)
    parser.add_argument("--beams", type=int, nargs="+", default=[16, 128], help="sequences scored together")
    parser.add_argument("--rows", type=int, default=193, help="rows of a look-ahead table")
    parser.add_argument("--keywords", type=int, default=5, help="of the constraint whose token classes are scored")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-dense", action="store_true", help="leave torch.matmul and its H x V x 4 bytes out")
    parser.add_argument("--json", type=Path, help="also write the timings to this file")
    add_device_flag(parser)
    return parser.parse_args()


def time_steps(emission: CompressedMatrix, beams: int, arguments: argparse.Namespace) -> list[Timing]:
    """The operations of one decoding step on the emission matrix."""
    hidden_states, vocab_size = emission.shape
    device = emission.device
    generator = torch.Generator(device).manual_seed(arguments.seed)
    predictive = torch.rand(beams, hidden_states, generator=generator, device=device)
    predictive /= predictive.sum(dim=1, keepdim=True)
    class_of = torch.from_numpy(keywords_and_words(vocab_size, arguments.keywords, 1).class_of.copy()).to(device)
    classes = int(class_of.max()) + 1
    row_of = torch.arange(beams * classes, dtype=torch.int32, device=device).reshape(beams, classes)
    row_of[:, -1] = -1
    weights = torch.rand(beams * classes, hidden_states, generator=generator, device=device)
    step = ScoringStep(weights, predictive, row_of, class_of)
    logits = torch.randn(beams, vocab_size, generator=generator, device=device)
    out = torch.empty_like(logits)
    ids = torch.randint(0, vocab_size, (beams,), generator=generator, device=device)

    products = product_timing(f"left, {beams} beams", emission, emission.left, predictive, False, arguments)
    dense = {"dense product": products.others["dense"]} if "dense" in products.others else {}
    return [
        products,
        timing(f"scores, {beams} beams", lambda: emission.scores(step), arguments, dense),
        timing(f"add_scores, {beams} beams", lambda: emission.add_scores(logits, step, out=out), arguments, dense),
        timing(f"columns, {beams} beams", lambda: emission.columns(ids), arguments, {}),
    ]


def time_look_ahead(
    emission: CompressedMatrix, transition: CompressedMatrix, arguments: argparse.Namespace
) -> list[Timing]:
    """The operations that build look-ahead tables, and the predictive update."""
    device = emission.device
    generator = torch.Generator(device).manual_seed(arguments.seed)
    class_of = torch.from_numpy(keywords_and_words(emission.shape[1], arguments.keywords, 1).class_of.copy()).to(device)
    classes = int(class_of.max()) + 1
    tables = torch.rand(arguments.rows, transition.shape[1], generator=generator, device=device)
    updates = [
        product_timing(
            f"transition left, {beams} beams",
            transition,
            transition.left,
            torch.rand(beams, transition.shape[0], generator=generator, device=device),
            False,
            arguments,
        )
        for beams in arguments.beams
    ]
    right = f"transition right, {arguments.rows} rows"
    return [
        *updates,
        product_timing(right, transition, transition.right, tables, True, arguments),
        timing("class_sums", lambda: emission.class_sums(class_of, classes), arguments, {}),
    ]


def product_timing(
    operation: str,
    matrix: CompressedMatrix,
    product: Callable[[Tensor], Tensor],
    x: Tensor,
    transposed: bool,
    arguments: argparse.Namespace,
) -> Timing:
    """Ours beside the others' x @ M, or x @ M.T if transposed."""
    others: dict[str, float] = {}
    if not arguments.no_dense:
        dense = matrix.to_dense()
        dense = dense.T if transposed else dense
        difference = (product(x) - x @ dense).abs().max() / (x @ dense).abs().max()
        if not difference <= TOLERANCE:
            raise SystemExit(f"{operation}: differs from the dense product by {float(difference):.1e}")
        others["dense"] = median(milliseconds(lambda: x @ dense, arguments.repeats, arguments.device))
    sparse = other_forms(matrix, transposed)
    turned = x.T.contiguous()
    others["torch.sparse"] = median(
        milliseconds(lambda: sparse.torch_csr @ turned, arguments.repeats, arguments.device)
    )
    if sparse.scipy_csr is not None:
        array = turned.cpu().numpy()
        others["scipy.sparse"] = median(milliseconds(lambda: sparse.scipy_csr @ array, arguments.repeats, "cpu"))
    return timing(operation, lambda: product(x), arguments, others)


def other_forms(matrix: CompressedMatrix, transposed: bool) -> Sparse:
    """M.T in compressed rows, or M itself if transposed, in both libraries; scipy's is None without scipy."""
    entries = matrix.row_entries()
    row = torch.repeat_interleave(torch.arange(matrix.shape[0], device=matrix.device), entries.indptr.diff())
    values = matrix.scale[row] * matrix.codebook[entries.codes.int()]
    column = entries.columns.long()
    where = torch.stack([row, column] if transposed else [column, row])
    shape = matrix.shape if transposed else matrix.shape[::-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls its sparse matrices a beta
        by_rows = torch.sparse_coo_tensor(where, values, shape).coalesce().to_sparse_csr()
    try:
        from scipy.sparse import csr_array
    except ImportError:
        return Sparse(by_rows, None)
    parts = (part.cpu().numpy() for part in (by_rows.values(), by_rows.col_indices(), by_rows.crow_indices()))
    return Sparse(by_rows, csr_array(tuple(parts), shape=shape))


def timing(
    operation: str, work: Callable[[], object], arguments: argparse.Namespace, others: dict[str, float]
) -> Timing:
    times = milliseconds(work, arguments.repeats, arguments.device)
    return Timing(operation, min(times), median(times), others)


def milliseconds(work: Callable[[], object], repeats: int, device: str) -> list[float]:
    """Times of `repeats` calls, after one that compiles and warms up."""
    work()
    times = []
    for _ in range(repeats):
        wait_for(device)
        started = time.perf_counter()
        work()
        wait_for(device)
        times.append(1e3 * (time.perf_counter() - started))
    return times


def median(times: list[float]) -> float:
    return statistics.median(times)


def show(timing: Timing) -> None:
    others = "   ".join(f"{name} {ms:8.2f} ({ms / timing.median:6.1f} x)" for name, ms in timing.others.items())
    print(f"{timing.operation:28s} least {timing.least:8.2f}   median {timing.median:8.2f}   {others}".rstrip())


if __name__ == "__main__":
    main()
