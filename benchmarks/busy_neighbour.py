"""What a decoding step costs beside another busy process on the same cores, for several ways in which threads wait.

A step is that of a small Llama with random weights and of the logits processor, with 2 threads. For each way of waiting
there are two processes: one is timed, the other is its neighbour, which either sleeps or takes the same steps. Short
rounds of all ways alternate, so that whatever else the machine does meets all of them alike; the medians are printed
after every round. With as many cores as threads, two processes that give way to each other take twice as long.

    python benchmarks/busy_neighbour.py
    python benchmarks/busy_neighbour.py --rounds 40 --ways default GOMP_SPINCOUNT=30000 OMP_WAIT_POLICY=passive
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

TEXT_TOKENS = 24  # written before a text begins anew


def main() -> None:
    """Start the processes of every way and print what each round finds."""
    arguments = _arguments()
    if arguments.worker:
        work(arguments)
        return
    pairs = {way: (Process(way), Process(way)) for way in arguments.ways}
    try:
        for process in (process for pair in pairs.values() for process in pair):
            process.median()  # waits until it is ready
        compare(pairs, arguments.rounds, arguments.steps)
    finally:
        for process in (process for pair in pairs.values() for process in pair):
            process.end()


def compare(pairs: dict[str, tuple[Process, Process]], rounds: int, steps: int) -> None:
    """Time every way alone and beside its neighbour, round by round."""
    quiet: dict[str, list[float]] = {way: [] for way in pairs}
    busy: dict[str, list[float]] = {way: [] for way in pairs}
    first = next(iter(pairs))
    for number in range(1, rounds + 1):
        for way, (timed, neighbour) in pairs.items():
            timed.begin(steps)
            quiet[way].append(timed.median())
            neighbour.begin(3 * steps)
            timed.begin(steps)
            busy[way].append(timed.median())
            neighbour.median()
        print(f"round {number} of {rounds}, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
        for way in pairs:
            alone, beside = statistics.median(quiet[way]), statistics.median(busy[way])
            ratios = [alone / statistics.median(quiet[first]), beside / statistics.median(busy[first])]
            print(
                f"  {way:28s} alone {alone:7.1f} ms ({ratios[0]:.2f} of {first}), "
                f"beside {beside:7.1f} ms ({ratios[1]:.2f}), slowed {beside / alone:.1f} times",
                flush=True,
            )


class Process:
    """A process that takes steps when told to; OpenMP reads the way in which its threads wait when torch is loaded."""

    def __init__(self, way: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
        if way != "default":
            name, _, value = way.partition("=")
            environment[name] = value
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def begin(self, steps: int) -> None:
        """Let it take so many steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()

    def median(self) -> float:
        """Milliseconds of its median step, once it has taken all it was told to."""
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """Close it."""
        self._process.kill()
        self._process.wait()


def work(arguments: argparse.Namespace) -> None:
    """Take steps: the number of each line read is answered by the median time in milliseconds."""
    take = _stepper(arguments)
    for _ in range(3):
        take()
    print(0.0, flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            started = time.perf_counter()
            take()
            times.append(time.perf_counter() - started)
        print(1e3 * statistics.median(times), flush=True)


def _stepper(arguments: argparse.Namespace):  # noqa: ANN202
    import torch
    from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

    from ctrlg.decoding import ConstraintLogitsProcessor
    from ctrlg.evaluation.synthetic import keywords_and_words, synthetic_hmm

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=arguments.layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=arguments.vocab_size,
    )
    model = LlamaForCausalLM(config).eval()
    hmm = synthetic_hmm(1024, arguments.vocab_size, 150, 8, 0)
    dfa = keywords_and_words(arguments.vocab_size, 3, 20, 0)
    processor = ConstraintLogitsProcessor(hmm, dfa, 5, 2 * TEXT_TOKENS, [0], [0], [7])
    written, cache = torch.zeros(arguments.beams, 1, dtype=torch.long), DynamicCache()

    @torch.no_grad()
    def take() -> None:
        nonlocal written, cache
        if written.shape[1] > TEXT_TOKENS:
            written, cache = written[:, :1], DynamicCache()
        logits = model(written[:, -1:], past_key_values=cache, use_cache=True).logits[:, -1]
        likely = processor(written, logits).topk(arguments.beams, dim=1).indices
        chosen = likely.diagonal()[:, None]  # another one for every beam
        written = torch.cat([written, chosen], dim=1)

    return take


_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = ["default", "GOMP_SPINCOUNT=10000", "GOMP_SPINCOUNT=30000", "OMP_WAIT_POLICY=passive"]
    parser.add_argument("--ways", nargs="+", default=ways, help="'default', or an environment variable")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10, help="timed steps of a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--beams", type=int, default=16)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--vocab-size", type=int, default=16_384)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
