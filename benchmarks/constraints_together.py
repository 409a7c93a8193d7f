"""Constraints kept side by side (`ctrlg.generate_many`) against one after another, with the real models.

    python benchmarks/constraints_together.py
    OMP_NUM_THREADS=1 python benchmarks/constraints_together.py --beams 16 --together 1 2 4 8

The demo's eight constraints are written in searches of one, two, ... constraints, in turn; a time is that of all eight.
"""

from __future__ import annotations

import os
import statistics
import time

import torch

from ctrlg.cli.demo import CONCEPT_SETS, MAX_NEW_TOKENS, WORDS
from ctrlg.constraints import Keywords, WordCount
from ctrlg.generation import generate_many
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import DEFAULT, load_language_model
from ctrlg.terminal.flags import PlainArgumentParser, add_device_flag


def main() -> None:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--model", default=DEFAULT, help="name, folder or GGUF file")
    parser.add_argument("--hmm", default="default", help="folder or hub id of an HMM over the same vocabulary")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="bfloat16")
    add_device_flag(parser)
    parser.add_argument("--beams", type=int, default=16)
    parser.add_argument("--together", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()

    model, tokenizer = load_language_model(arguments.model, arguments.device, getattr(torch, arguments.dtype))
    hmm = load_hmm(arguments.hmm, device=arguments.device)
    print(f"{arguments.dtype}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, {hmm}")
    constraints = [Keywords([[word] for word in words], inflect=True) & WordCount(*WORDS) for words in CONCEPT_SETS]
    seconds: dict[int, list[float]] = {size: [] for size in arguments.together}
    for repeat in range(arguments.repeats + 1):
        for size, times in seconds.items():
            started = time.perf_counter()
            for first in range(0, len(constraints), size):
                generate_many(
                    model,
                    tokenizer,
                    hmm,
                    constraints[first : first + size],
                    suffix=".",
                    max_new_tokens=MAX_NEW_TOKENS,
                    num_beams=arguments.beams,
                    progress=False,
                )
            if repeat:  # the first round warms up
                times.append((time.perf_counter() - started) / len(constraints))
    alone = statistics.median(seconds[arguments.together[0]])
    for size, times in seconds.items():
        middle = statistics.median(times)
        print(
            f"{size:3d} together: {middle:.2f} s a constraint ({min(times):.2f} to {max(times):.2f}), "
            f"{alone / middle:.2f} x"
        )


if __name__ == "__main__":
    main()
