"""Soft emission counts: the kernel against its definition in torch, on the same samples.

    python benchmarks/soft_counts.py
    python benchmarks/soft_counts.py --hidden-states 256 --places 4000 --threads 1

Draws of peaked random distributions, 32 a place, as `distillation/lvd_hmm.py --next_tokens 32` leaves them. Both ways
run in turn in one process; printed are medians and their ratio, and the largest difference of their counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ctrlg.devices import wait_for
from ctrlg.distillation.sampling.next_tokens import credit_in_torch, credit_next_tokens
from ctrlg.matrices import DenseMatrix
from ctrlg.terminal.flags import PlainArgumentParser, add_device_flag

SHARPNESS = 3.0  # standard deviation of the logits: about 25 distinct tokens among 32 samples


def main() -> None:
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    by_token = torch.rand(arguments.vocab_size, arguments.hidden_states, generator=generator)
    by_token /= by_token.sum(0)
    predictive = torch.rand(arguments.places, arguments.hidden_states, generator=generator).softmax(1)
    next_tokens = sampled(arguments, generator)
    by_token, predictive, next_tokens = (tensor.to(arguments.device) for tensor in (by_token, predictive, next_tokens))
    emission = DenseMatrix(by_token.T)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "kernel": lambda counts: credit_next_tokens(counts, emission, predictive, next_tokens),
        "torch": lambda counts: credit_in_torch(by_token, predictive, next_tokens, counts),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Tensor] = {}
    for repeat in range(arguments.repeats + 1):  # the first one compiles and warms up
        for name, way in ways.items():
            found[name] = torch.zeros_like(by_token)
            wait_for(arguments.device)
            started = time.perf_counter()
            way(found[name])
            wait_for(arguments.device)
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name:7s} {1e6 * value / arguments.places:8.1f} µs a place ({arguments.places / value:,.0f} places/s)")
    print(f"ratio   {medians['torch'] / medians['kernel']:.1f}, {torch.get_num_threads()} threads")
    print(f"largest difference {float((found['kernel'] - found['torch']).abs().max()):.1e}")


def sampled(arguments: argparse.Namespace, generator: torch.Generator) -> Tensor:
    """int32 [places, K], ascending."""
    rows = []
    for _ in range(arguments.places):
        logits = SHARPNESS * torch.randn(arguments.vocab_size, generator=generator)
        rows.append(torch.multinomial(logits.softmax(0), arguments.next_tokens, replacement=True, generator=generator))
    return torch.stack(rows).sort(1).values.int()


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hidden-states", type=int, default=1024)
    parser.add_argument("--vocab-size", type=int, default=49152)
    parser.add_argument("--places", type=int, default=1000)
    parser.add_argument("--next-tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="torch's own number where 0")
    add_device_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
