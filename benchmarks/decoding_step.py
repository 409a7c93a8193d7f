"""Time and memory of decoding under a constraint: one step, the look-ahead tables, the compressed HMM.

Synthetic HMM (random codes, no text) and a synthetic constraint (some keywords, at most so many words). Examples:

    python benchmarks/decoding_step.py
    python benchmarks/decoding_step.py --keywords 6 --words 61 --tokens 64 --beams 16
    python benchmarks/decoding_step.py --own-threads  # what running beside torch's threads costs
    python benchmarks/decoding_step.py --reference ../Ctrl-G --hidden-states 512 --vocab-size 4000 --beams 16
    python benchmarks/decoding_step.py --model HuggingFaceTB/SmolLM2-135M-Instruct --beams 16

`--reference` runs a checkout of Ctrl-G in a process of its own on the same parameters, automaton and beams, compares
the scores and prints the ratio of the times; it needs minutes where H * V is large. `--model` adds the language model's
own time for a step, with its cache, and the share of the whole that the constraint costs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference_step import compare_with_reference

from ctrlg.automata.dfa import DFA
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.devices import wait_for
from ctrlg.evaluation.synthetic import SyntheticHMM, keywords_and_words, synthetic_hmm
from ctrlg.kernels import threads
from ctrlg.terminal.flags import PlainArgumentParser, add_device_flag

LEAST_TOKENS = 5  # of the constrained texts
SUFFIX_TOKEN = 7
WARM_UP_STEPS = 3  # the first steps, where all beams are still alike, are not counted


def main() -> None:
    arguments = _arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.own_threads:
        threads.torch_team = lambda: None
    hmm = synthetic_hmm(
        arguments.hidden_states, arguments.vocab_size, arguments.entries, arguments.bits, arguments.seed
    ).to(arguments.device)
    dfa = keywords_and_words(arguments.vocab_size, arguments.keywords, arguments.words, arguments.seed)
    report: dict[str, Any] = {
        "hidden_states": hmm.hidden_states,
        "vocab_size": hmm.vocab_size,
        "entries_per_row": arguments.entries,
        "bits": arguments.bits,
        "threads": torch.get_num_threads(),
        "device": arguments.device,
        "hmm_megabytes": hmm.nbytes / 1e6,
        "dense_hmm_megabytes": 4e-6 * hmm.hidden_states * (hmm.hidden_states + hmm.vocab_size + 1),
        "load": os.getloadavg()[0],
        "automaton_states": dfa.num_states,
        "tokens": arguments.tokens,
    }
    processor = build(hmm, dfa, arguments.tokens)  # compiles on the first run of a machine
    report["precompute_seconds"] = median_time(
        lambda: build(hmm, dfa, arguments.tokens), arguments.repeats, arguments.device
    )
    report["table_megabytes"] = processor.nbytes / 1e6
    report["steps"] = [
        measure_steps(processor, hmm, beams, arguments.tokens, arguments.seed) for beams in arguments.beams
    ]
    if not arguments.no_dense:
        report["dense_matmul_milliseconds"] = {
            beams: dense_product(hmm, beams, arguments.repeats) for beams in arguments.beams
        }
    if arguments.model:
        report["language_model"] = [
            language_model_share(arguments.model, step, arguments.tokens, arguments.device) for step in report["steps"]
        ]
    report["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    show(report)
    if arguments.reference:
        report["reference"] = [
            compare_with_reference(arguments.reference, hmm, dfa, beams, arguments.tokens, arguments.seed)
            for beams in arguments.beams
        ]
        for result in report["reference"]:
            print("\n".join(f"  {name}: {value}" for name, value in result.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def build(hmm: SyntheticHMM, dfa: DFA, tokens: int) -> ConstraintLogitsProcessor:
    """The processor of texts of LEAST_TOKENS .. `tokens` tokens; the prompt is one token."""
    return ConstraintLogitsProcessor(
        hmm, dfa, min(LEAST_TOKENS, tokens), tokens, [0], [], [SUFFIX_TOKEN, hmm.eos_token_id]
    )


def measure_steps(
    processor: ConstraintLogitsProcessor, hmm: SyntheticHMM, beams: int, tokens: int, seed: int
) -> dict[str, float]:
    """Milliseconds of a step and of its parts, median and best, along sampled texts."""
    device = hmm.initial.device
    generator = torch.Generator(device).manual_seed(seed)
    rows = torch.zeros(beams, 1, dtype=torch.long, device=device)
    parts: list[tuple[float, ...]] = []
    for step in range(tokens):
        logits = 2 * torch.randn(beams, hmm.vocab_size, generator=generator, device=device)
        times = [now(device)]
        sequences = processor.read(rows)
        times.append(now(device))
        batches = [(processor.guide.choices(chosen), chosen) for chosen, _ in processor.batches(sequences)]
        times.append(now(device))
        for choices, chosen in batches:
            processor.joiner.join(logits[: len(chosen.of_row)], chosen, choices)
        times.append(now(device))
        if bool(sequences.over.any()):
            break
        scores = processor(rows, logits)  # the sequences are known: everything but their update, as a whole
        whole = now(device) - times[-1]
        predictive, weights, joining = np.diff(times).tolist()
        if step >= WARM_UP_STEPS:
            parts.append((predictive, weights, joining, predictive + whole))
        rows = torch.cat([rows, torch.multinomial(scores.exp(), 1, generator=generator)], dim=1)
    predictive, weights, joining, whole = (1e3 * statistics.median(column) for column in zip(*parts, strict=True))
    return {
        "beams": beams,
        "milliseconds": whole,
        "best_milliseconds": 1e3 * min(total for *_, total in parts),
        "predictive_update": predictive,
        "mask_and_weights": weights,
        "scores_and_joining": joining,
        "steps_measured": len(parts),
    }


def dense_product(hmm: SyntheticHMM, beams: int, repeats: int) -> float:
    """Milliseconds of predictive @ emission for the dense emission matrix."""
    dense = hmm.emission.to_dense()
    predictive = torch.rand(beams, hmm.hidden_states, device=dense.device)
    return 1e3 * median_time(lambda: predictive @ dense, repeats, dense.device)


@torch.no_grad()
def language_model_share(name: str, step: dict[str, float], context: int, device: str) -> dict[str, float]:
    """A language model's step in milliseconds, `context` tokens in its cache, and the constraint's share of both."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    model = model.to(device).eval()
    beams = int(step["beams"])
    vocab_size = model.config.vocab_size
    read = model(torch.randint(vocab_size, (beams, context), device=device), use_cache=True)
    times = []
    for _ in range(5):
        token = torch.randint(vocab_size, (beams, 1), device=device)
        started = now(device)
        read = model(token, past_key_values=read.past_key_values, use_cache=True)
        read.logits[:, -1].float().log_softmax(dim=-1)
        times.append(now(device) - started)
    neural = 1e3 * statistics.median(times)
    return {
        "beams": beams,
        "neural_milliseconds": neural,
        "symbolic_share": step["milliseconds"] / (step["milliseconds"] + neural),
    }


def median_time(work: Callable[[], object], repeats: int, device: str | torch.device) -> float:
    """Median seconds of `repeats` runs."""
    times = []
    for _ in range(repeats):
        started = now(device)
        work()
        times.append(now(device) - started)
    return statistics.median(times)


def now(device: str | torch.device) -> float:
    """Seconds of a clock, once the device has done what it was told."""
    wait_for(device)
    return time.perf_counter()


def show(report: dict[str, Any]) -> None:
    print(
        f"HMM: H={report['hidden_states']}, V={report['vocab_size']}, {report['entries_per_row']} codes a row, "
        f"{report['bits']} bits: {report['hmm_megabytes']:.2f} MB (dense {report['dense_hmm_megabytes']:.0f} MB)"
    )
    print(
        f"look-ahead: {report['automaton_states']} states, {report['tokens']} tokens: "
        f"{report['precompute_seconds']:.2f} s, {report['table_megabytes']:.0f} MB of tables"
    )
    for step in report["steps"]:
        print(
            f"step, {step['beams']:4d} beams: {step['milliseconds']:.1f} ms, best {step['best_milliseconds']:.1f} "
            f"(predictive update {step['predictive_update']:.1f}, "
            f"mask and weights {step['mask_and_weights']:.1f}, scores and joining {step['scores_and_joining']:.1f})"
        )
        dense = report.get("dense_matmul_milliseconds", {}).get(step["beams"])
        if dense:
            ratio = dense / step["milliseconds"]
            print(f"  a dense matrix product alone: {dense:.0f} ms, {ratio:.1f} times the whole step")
    for share in report.get("language_model", []):
        print(
            f"language model, {share['beams']:4d} beams: {share['neural_milliseconds']:.0f} ms; "
            f"the constraint is {share['symbolic_share']:.1%} of a step"
        )
    print(
        f"peak memory of this process: {report['peak_megabytes']:.0f} MB; {report['threads']} threads; "
        f"the machine had {report['load']:.1f} others waiting (load)"
    )


def _arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hidden-states", type=int, default=4096, help="H")
    parser.add_argument("--vocab-size", type=int, default=50257, help="V")
    parser.add_argument("--entries", type=int, default=150, help="stored codes a row")
    parser.add_argument("--bits", type=int, default=8, help="of a code")
    parser.add_argument(
        "--keywords", type=int, default=4, help="of the constraint: 2^keywords * (words + 1) + 1 states"
    )
    parser.add_argument("--words", type=int, default=11, help="most words of the constraint")
    parser.add_argument("--tokens", type=int, default=32, help="most tokens of a text")
    parser.add_argument("--beams", type=int, nargs="+", default=[128, 16])
    parser.add_argument("--repeats", type=int, default=5, help="of what is timed as a whole")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="all cores where 0")
    parser.add_argument("--own-threads", action="store_true", help="kernels in threads beside torch's, not in them")
    parser.add_argument("--no-dense", action="store_true", help="leave out the dense product (memory 4 H V bytes)")
    parser.add_argument("--model", help="language model whose own step is timed too: a name or a folder")
    parser.add_argument("--reference", type=Path, help="a checkout of Ctrl-G to compare with")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    add_device_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
