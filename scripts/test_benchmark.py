"""Norm-Q's benchmark: compress an HMM, and write CommonGen's concept sets with it.

    python scripts/test_benchmark.py
    python scripts/test_benchmark.py --hmm_model_path distillation/workspace/models/hmm_gpt2-large_4096/checkpoint-80 \\
        --base_model ctrlg/gpt2-large_common-gen --output_path result/output.json --cluster 256 --least_words 0 \\
        --most_words none
    python scripts/test_benchmark.py --dataset_path validation.jsonl --method norm-q --bits 8 --limit 100
    python scripts/test_benchmark.py --dataset_path validation.jsonl --grid norm-q:8,4,3,2 log-norm-q:8,4,3,2 float32 \\
        mask-only --output_path runs/benchmark.jsonl
    python scripts/test_benchmark.py --dataset_path validation.jsonl --grid none:4 integer:4 --soft_mask \\
        --output_path runs/benchmark.jsonl

Without flags: the embedded HMM, unpacked, and its language model, on CommonGen's validation sets, from
data/common-gen_validation.json, the file that Norm-Q's scripts read, where there is one, else from the hub, else the
100 that this package carries.

All different sentences of a concept set, best first, are one JSON line of the output, with concept_set_idx, concepts
and more, written as they come; an interrupted run goes on where it stopped, another method adds to it. Where the
output's name ends in .json, that is what NAME.jsonl is for, and the finished NAME.json is Norm-Q's list. test_acc.py
scores both.
"""

from __future__ import annotations

import argparse

from ctrlg.cli.evaluation import named_source, word_limit, write_benchmark
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.benchmark import BenchmarkSettings, parse_grid
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS, TOGETHER
from ctrlg.terminal.console import as_program
from ctrlg.terminal.flags import PlainArgumentParser


def main() -> None:
    arguments = parse_arguments()
    chosen = parse_grid(grid(arguments))
    settings = BenchmarkSettings(
        hmm_model_path=arguments.hmm_model_path,
        base_model=arguments.base_model,
        dataset_path=named_source(arguments.dataset_path),
        output_path=arguments.output_path,
        beams=arguments.beams,
        limit=arguments.limit,
        seeds=tuple(arguments.seeds),
        soft_mask=arguments.soft_mask,
        least_words=arguments.least_words,
        most_words=arguments.most_words,
        max_new_tokens=arguments.max_new_tokens,
        together=arguments.together,
        device=arguments.device,
        most_sentences=arguments.most_sentences,
        part=arguments.part,
        parts=arguments.parts,
        seconds=arguments.seconds,
    )
    write_benchmark(settings, chosen)


def grid(arguments: argparse.Namespace) -> list[str]:
    """What to compress by, from whichever flags name it. Raises ArgumentError where two of them do."""
    ways = []
    if arguments.grid:
        ways.append(arguments.grid)
    if arguments.method:
        single = arguments.method in ("float32", "mask-only")
        ways.append([arguments.method if single else f"{arguments.method}:{arguments.bits}"])
    if arguments.cluster:
        bits = arguments.cluster.bit_length() - 1
        if arguments.cluster != 2**bits:
            raise ArgumentError(f"--cluster {arguments.cluster} is no power of two", hint="256 levels are 8 bits")
        ways.append([f"norm-q-max:{bits}"])
    if arguments.qbit:
        ways.append([f"integer:{arguments.qbit}"])
    if len(ways) > 1:
        raise ArgumentError("more than one of --grid, --method, --cluster and --qbit", hint="name one of them")
    return ways[0] if ways else ["float32"]


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--method", default="", help="a method of docs/methods.md, float32 or mask-only")
    parser.add_argument("--bits", type=int, default=8, help="of --method (%(default)s)")
    parser.add_argument("--grid", nargs="+", default=[], help="several at once, as norm-q:8,4 log-norm-q:4 float32")
    parser.add_argument("--cluster", type=int, default=0, help="Norm-Q's flag: so many levels, as norm-q-max")
    parser.add_argument("--qbit", type=int, default=0, help="Norm-Q's flag: the method integer, at so many bits")
    parser.add_argument("--hmm_model_path", default="default", help="folder or hub id of an HMM (%(default)s)")
    parser.add_argument("--base_model", default="default", help="the language model it comes from (%(default)s)")
    parser.add_argument(
        "--dataset_path",
        default="default",
        help="concept sets with references: a file, a name on the hub, or default: CommonGen's (%(default)s)",
    )
    parser.add_argument("--output_path", default="runs/benchmark.jsonl", help=".jsonl or .json (%(default)s)")
    parser.add_argument("--beams", type=int, default=16)
    parser.add_argument("--limit", type=int, help="concept sets, spread evenly (all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="0: sets spread evenly; others: drawn")
    parser.add_argument("--soft_mask", action="store_true", help="the HMM alone steers, as in Ctrl-G")
    parser.add_argument("--least_words", type=int, default=LEAST_WORDS, help="of a sentence (%(default)s)")
    parser.add_argument("--most_words", type=word_limit, default=MOST_WORDS, help="or none (%(default)s)")
    parser.add_argument("--max_new_tokens", type=int, default=32)
    parser.add_argument("--together", type=int, default=TOGETHER, help="concept sets of one search (%(default)s)")
    parser.add_device()
    parser.add_argument("--most_sentences", type=int, default=None, help="written down of a concept set (all)")
    parser.add_argument("--part", type=int, default=0, help="of --parts: every so manieth group of concept sets")
    parser.add_argument("--parts", type=int, default=1, help="processes that share the concept sets")
    parser.add_argument("--seconds", type=float, default=None, help="to end within; settings keep the same sets")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
