"""The constraint's share of a step of constrained generation: the real language model, the embedded HMM, real
constraints.

    python benchmarks/symbolic_share.py
    python benchmarks/symbolic_share.py --beams 1 16 64 --dtype bfloat16

Each of the demo's eight constraints is written once per repeat; a share is the time in the logits processor over the
time of the whole call, preparation (automaton and look-ahead tables) apart.
"""

from __future__ import annotations

import os
import statistics
from typing import Any

import torch

from ctrlg.cli.demo import CONCEPT_SETS, MAX_NEW_TOKENS, WORDS
from ctrlg.constraints import Keywords, WordCount
from ctrlg.generation import generate
from ctrlg.hmm import HMM
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import DEFAULT, load_language_model
from ctrlg.quantization import QuantizedHMM
from ctrlg.terminal.flags import PlainArgumentParser, add_device_flag


def main() -> None:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--model", default=DEFAULT, help="name, folder or GGUF file")
    parser.add_argument("--hmm", default="default", help="folder or hub id of an HMM over the same vocabulary")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    add_device_flag(parser)
    parser.add_argument("--beams", type=int, nargs="+", default=[16])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()

    model, tokenizer = load_language_model(arguments.model, arguments.device, getattr(torch, arguments.dtype))
    hmm = load_hmm(arguments.hmm, device=arguments.device)
    print(f"{arguments.dtype}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, {hmm}")
    for beams in arguments.beams:
        generate(
            model, tokenizer, hmm, WordCount(1, 3), suffix=".", max_new_tokens=4, num_beams=beams, progress=False
        )  # warms up
        neural, symbolic = zip(
            *(
                step_times(model, tokenizer, hmm, concepts, beams)
                for _ in range(arguments.repeats)
                for concepts in CONCEPT_SETS
            ),
            strict=True,
        )
        shares = [own / (own + other) for own, other in zip(symbolic, neural, strict=True)]
        print(
            f"{beams:4d} beams: neural {1e3 * statistics.median(neural):.1f} ms, "
            f"symbolic {1e3 * statistics.median(symbolic):.2f} ms a step; share {statistics.median(shares):.1%} "
            f"({min(shares):.1%} to {max(shares):.1%}, {len(shares)} texts)"
        )


def step_times(
    model: Any, tokenizer: Any, hmm: HMM | QuantizedHMM, concepts: tuple[str, ...], beams: int
) -> tuple[float, float]:
    """Seconds of a step of the language model (with the search) and of the logits processor."""
    constraint = Keywords([[concept] for concept in concepts], inflect=True) & WordCount(*WORDS)
    timing = generate(
        model,
        tokenizer,
        hmm,
        constraint,
        suffix=".",
        max_new_tokens=MAX_NEW_TOKENS,
        num_beams=beams,
        num_return_sequences=beams,
        progress=False,
    )[0].timing
    return timing.neural / timing.steps, timing.symbolic / timing.steps


if __name__ == "__main__":
    main()
