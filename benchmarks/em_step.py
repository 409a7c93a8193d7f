"""Time and memory of an EM step: tokens a second, share of what its matrix products alone would take, peak memory.

    python benchmarks/em_step.py
    python benchmarks/em_step.py --reference ../Ctrl-G --hidden-states 256 1024
    python benchmarks/em_step.py --hidden-states 4096 --vocab-size 49152 --batches 4 --ways own bfloat16

Random model, random tokens (Zipf; `--uniform` samples the whole vocabulary). Ways: `kept` takes the batches as they
come, `own` joins small ones, `bfloat16` also multiplies in that type, `reference` is Ctrl-G's `forward`, `backward` and
M-step from a checkout. Each way has a process of its own; they take turns, repeat after repeat, and a ratio is that of
neighbours in time. Clock seconds are what is reported; those of the processor stand beside them for busy machines.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import reference_em
from reference_em import Way, Work

from ctrlg.terminal.flags import PlainArgumentParser, add_device_flag

WAYS = {"kept": Way(None, False, "float32"), "own": Way(None, True, "float32"), "bfloat16": Way(None, True, "bfloat16")}


def main() -> None:
    arguments = _arguments()
    ways = {name: WAYS[name] for name in arguments.ways}
    if arguments.reference:
        ways["reference"] = Way(str(arguments.reference.resolve()), False, "float32")
    reports = []
    for states in arguments.hidden_states:
        work = Work(
            states,
            arguments.vocab_size,
            arguments.batch_size,
            arguments.length,
            arguments.batches,
            arguments.uniform,
            arguments.threads,
            arguments.seed,
            arguments.device,
        )
        reports.append(measure(work, ways, arguments.repeats))
        show(reports[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(reports, indent=2) + "\n")


def measure(work: Work, ways: dict[str, Way], repeats: int) -> dict[str, Any]:
    """Every way's answers, repeat after repeat, in turns; one more repeat before them warms up."""
    workers = {name: Worker(work, way) for name, way in ways.items()}
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    load = []
    for _ in range(repeats + 1):
        for name, worker in workers.items():
            products = worker.ask("products") if name != "reference" else {}
            answers[name].append(worker.ask("step") | products)
        load.append(os.getloadavg()[0])
    with tempfile.TemporaryDirectory() as folder:
        for name, worker in workers.items():
            worker.ask(f"outcome {folder}/{name}.npz")
            worker.close()
        apart = {name: largest_difference(Path(folder), name) for name in ways} if "reference" in ways else {}
    reference = answers.get("reference", [])[1:]
    return {
        "work": work._asdict(),
        "tokens": work.batches * work.batch_size * work.length,
        "load": statistics.median(load),
        "ways": {
            name: summary(rows[1:], work, reference) | {"largest_difference": apart.get(name)}
            for name, rows in answers.items()
        },
    }


def summary(rows: list[dict[str, Any]], work: Work, reference: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a way: tokens/s of the E-step, seconds of the M-step, ratios to the reference's neighbours in time, shares."""
    tokens, states = work.batches * work.batch_size * work.length, work.hidden_states
    result: dict[str, Any] = {"megabytes": rows[-1]["megabytes"]}
    for clock, name in enumerate(("clock", "processor")):
        expectation = [row["expectation"][clock] for row in rows]
        maximisation = [row["maximisation"][clock] for row in rows]
        result[name] = {
            "tokens_per_second": least_and_median([tokens / value for value in expectation]),
            "maximisation_seconds": least_and_median(maximisation),
        }
        if reference:
            theirs = [row["expectation"][clock] for row in reference]
            whole = [e_step + m_step for e_step, m_step in zip(expectation, maximisation, strict=True)]
            their_whole = [row["expectation"][clock] + row["maximisation"][clock] for row in reference]
            result[name]["expectation_ratio"] = ratios(theirs, expectation)
            result[name]["whole_step_ratio"] = ratios(their_whole, whole)
        if "products" in rows[0]:
            best = min(row["products"][clock] for row in rows)
            result[name]["floor_share"] = least_and_median([best / value for value in expectation])
            result[name]["products_tokens_per_second"] = tokens / best
            operations = 6 * tokens * states**2
            result[name]["products_gigaflops"] = 1e-9 * operations / best
    return result


def ratios(theirs: list[float], ours: list[float]) -> dict[str, float]:
    return least_and_median([t / o for t, o in zip(theirs, ours, strict=True)])


def least_and_median(values: list[float]) -> dict[str, float]:
    return {"least": min(values), "median": statistics.median(values), "most": max(values)}


class Worker:
    """A process of reference_em.py that answers commands."""

    def __init__(self, work: Work, way: Way) -> None:
        command = [sys.executable, reference_em.__file__, json.dumps(work._asdict()), json.dumps(way._asdict())]
        environment = os.environ | {"TORCHDYNAMO_DISABLE": "1"}  # Ctrl-G runs as written, uncompiled
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, command: str) -> dict[str, Any]:
        print(command, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())  # type: ignore[union-attr]

    def close(self) -> None:
        self.process.communicate()


def largest_difference(folder: Path, name: str) -> float:
    """Largest difference of estimated probabilities from the reference's, over the largest probability."""
    ours, theirs = np.load(folder / f"{name}.npz"), np.load(folder / "reference.npz")
    return max(float(np.abs(ours[key] - theirs[key]).max() / theirs[key].max()) for key in ("transition", "emission"))


def show(report: dict[str, Any]) -> None:
    work = report["work"]
    print(
        f"H={work['hidden_states']}, V={work['vocab_size']}, {work['batches']} batches of {work['batch_size']} x "
        f"{work['length']}, {work['threads']} threads, {work['device']}; load of the machine {report['load']:.1f}"
    )
    for name, way in report["ways"].items():
        for clock in ("clock", "processor"):
            times = way[clock]
            rate, seconds = times["tokens_per_second"], times["maximisation_seconds"]
            line = f"  {name:9s} {clock:9s} {rate['median']:8,.0f} tokens/s (best {rate['most']:8,.0f})"
            line += f", M-step {seconds['median']:.3f} s"
            if "expectation_ratio" in times and name != "reference":
                step, whole = times["expectation_ratio"], times["whole_step_ratio"]
                line += f", ratio {step['median']:.1f} (least {step['least']:.1f}), with M-step {whole['median']:.1f}"
            if "floor_share" in times:
                share = times["floor_share"]
                line += f", share of the floor {share['median']:.0%} (best {share['most']:.0%}"
                line += f" of {times['products_gigaflops']:.0f} GFLOP/s)"
            print(line)
        difference = way["largest_difference"]
        apart = "" if difference is None else f", largest difference from the reference {difference:.1e}"
        print(f"  {'':9s} peak memory above the model's {way['megabytes']:.0f} MB{apart}")


def _arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hidden-states", type=int, nargs="+", default=[256, 1024], help="H")
    parser.add_argument("--vocab-size", type=int, default=50257, help="V")
    parser.add_argument("--batch-size", type=int, default=64, help="sequences a batch")
    parser.add_argument("--length", type=int, default=32, help="tokens a sequence")
    parser.add_argument("--batches", type=int, default=16, help="of an EM step")
    parser.add_argument("--uniform", action="store_true", help="tokens from the whole vocabulary alike: the hard case")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--reference", type=Path, help="folder of a Ctrl-G checkout")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    add_device_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
