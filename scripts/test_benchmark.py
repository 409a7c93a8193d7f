"""Norm-Q's benchmark: compress an HMM, and write CommonGen's concept sets with it.

    python scripts/test_benchmark.py
    python scripts/test_benchmark.py --hmm distillation/workspace/models/hmm_gpt2-large_4096/checkpoint-80 \\
        --model ctrlg/gpt2-large_common-gen --output result/output.json --cluster 256 --least_words 0 \\
        --most_words none
    python scripts/test_benchmark.py --data validation.jsonl --method norm-q --bits 8 --limit 100
    python scripts/test_benchmark.py --data validation.jsonl --grid norm-q:8,4,3,2 log-norm-q:8,4,3,2 float32 \\
        mask-only --output runs/benchmark.jsonl
    python scripts/test_benchmark.py --data validation.jsonl --grid none:4 integer:4 --soft_mask \\
        --output runs/benchmark.jsonl

Without flags: the embedded HMM, unpacked, and its language model, on CommonGen's validation sets, from
data/common-gen_validation.json, the file that Norm-Q's scripts read, where there is one, else from the hub, else the
100 that this package carries.

All different sentences of a concept set, best first, are one JSON line of the output, with concept_set_idx, concepts
and more, written as they come; an interrupted run goes on where it stopped, another method adds to it. Where the
output's name ends in .json, that is what NAME.jsonl is for, and the finished NAME.json is Norm-Q's list. test_acc.py
scores both.
"""

from __future__ import annotations

from ctrlg.arguments import Natural, checked
from ctrlg.cli.evaluation import write_benchmark
from ctrlg.defaults import NORM_Q_BITS
from ctrlg.errors import ArgumentError
from ctrlg.evaluation.benchmark_settings import BenchmarkSettings
from ctrlg.terminal.program import Program

DEFAULTS = {
    "hmm": "default",
    "model": "default",
    "data": "default",
    "output": "runs/benchmark.jsonl",
}


@checked
def main(
    settings: BenchmarkSettings,
    method: str = "",
    bits: int = NORM_Q_BITS,
    grid: tuple[str, ...] = (),
    cluster: Natural = 0,
    qbit: Natural = 0,
) -> None:
    """Write a benchmark.

    Args:
        method: a method of docs/methods.md, float32 or mask-only.
        bits: of the method.
        grid: several at once, as norm-q:8,4 log-norm-q:4 float32.
        cluster: Norm-Q's flag: so many levels, as norm-q-max.
        qbit: Norm-Q's flag: the method integer, at so many bits.
    """
    from ctrlg.evaluation.grid import FLOAT, Grid

    if sum(map(bool, (grid, method, cluster, qbit))) > 1:
        raise ArgumentError("more than one of --grid, --method, --cluster and --qbit", hint="name one of them")
    if method:
        chosen = Grid.of(method, bits)
    elif cluster:
        chosen = Grid.of("norm-q-max", bits_of(cluster))
    elif qbit:
        chosen = Grid.of("integer", qbit)
    else:
        chosen = Grid.parse(grid or FLOAT)
    write_benchmark(settings, chosen)


def bits_of(levels: int) -> int:
    """How many bits so many levels are. Raises ArgumentError where they are no power of two."""
    bits = levels.bit_length() - 1
    if levels != 2**bits:
        raise ArgumentError(f"--cluster {levels} is no power of two", hint="256 levels are 8 bits")
    return bits


PROGRAM = Program(main, "test_benchmark.py", __doc__, defaults=DEFAULTS)

if __name__ == "__main__":
    PROGRAM.main()
