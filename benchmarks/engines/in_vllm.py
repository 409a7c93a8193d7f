"""Constraints in vLLM beside free text, in one run.

    python benchmarks/engines/in_vllm.py --dataset_path validation.jsonl

Run it where vLLM is (docs/engines.md). The engine stays in this process, so that its logits processor can be timed. On
a machine with other work run it with OMP_NUM_THREADS=1 and look at processor time, which others change little.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("CTRLG_HMM", "default")

import torch
from vllm import LLM, SamplingParams  # pyright: ignore[reportMissingImports]

from ctrlg import Keywords
from ctrlg.engines.vllm import ConstraintProcessor
from ctrlg.loading.embedded import default_model_path

SUFFIX, MOST = ".", 32


class Timed(ConstraintProcessor):
    """Adds up the seconds spent in `apply`: for constraints that were not ready, and for scores."""

    waiting = scoring = scoring_cpu = 0.0
    steps = 0

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        for row in self._rows.values():
            row.cursor()
        ready, ready_cpu = time.perf_counter(), time.thread_time()
        joined = super().apply(logits)
        Timed.scoring_cpu += time.thread_time() - ready_cpu
        Timed.waiting += ready - started
        Timed.scoring += time.perf_counter() - ready
        Timed.steps += 1
        return joined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset_path", type=Path, required=True, help="CommonGen sets, one JSON object a line")
    parser.add_argument("--model", default=str(default_model_path()))
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    lines = arguments.dataset_path.read_text(encoding="utf-8").splitlines()
    sets = [json.loads(line)["concepts"] for line in lines]
    llm = LLM(
        model=arguments.model,
        dtype=arguments.dtype,
        max_model_len=256,
        max_num_seqs=arguments.requests,
        enforce_eager=True,
        logits_processors=[Timed],
        disable_log_stats=True,
        enable_prefix_caching=False,
    )
    run(llm, [None] * arguments.requests, arguments.temperature)  # the first steps of all warm up
    for repeat in range(arguments.repeats):
        chosen = sets[repeat * arguments.requests : (repeat + 1) * arguments.requests]
        report(f"free {repeat}", run(llm, [None] * arguments.requests, arguments.temperature))
        report(f"new {repeat}", run(llm, chosen, arguments.temperature))
        report(f"cached {repeat}", run(llm, chosen, arguments.temperature))
    for name, concepts in (("new", sets[-1]), ("cached", sets[-1]), ("new", sets[-2]), ("cached", sets[-2])):
        print(f"one {name} constraint, first token: {first_token(llm, concepts) * 1000:.0f} ms", flush=True)
    print(f"free text, first token: {first_token(llm, None) * 1000:.0f} ms", flush=True)


def run(llm: LLM, sets: list[Any], temperature: float) -> dict[str, Any]:
    """Texts for all requests at once, and what they took."""
    Timed.waiting = Timed.scoring = Timed.scoring_cpu = 0.0
    Timed.steps = 0
    parameters = [parameters_of(concepts, temperature, seed) for seed, concepts in enumerate(sets)]
    started, started_cpu = time.perf_counter(), time.thread_time()
    outputs = llm.generate([{"prompt_token_ids": [0]} for _ in sets], parameters, use_tqdm=False)
    seconds, cpu = time.perf_counter() - started, time.thread_time() - started_cpu
    tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
    kept = sum(
        concepts is None or Keywords(concepts).holds(output.outputs[0].text)
        for concepts, output in zip(sets, outputs, strict=True)
    )
    return {
        "seconds": round(seconds, 2),
        "tokens": tokens,
        "tokens/s": round(tokens / seconds),
        "steps": Timed.steps,
        "waiting_s": round(Timed.waiting, 2),
        "scoring_s": round(Timed.scoring, 2),
        "scoring share": round(Timed.scoring / (seconds - Timed.waiting), 3),
        "engine's thread: cpu_s": round(cpu, 2),
        "of which scoring": round(Timed.scoring_cpu / cpu, 3),
        "kept": f"{kept} of {len(sets)}",
        "text": outputs[0].outputs[0].text,
    }


def parameters_of(concepts: Any, temperature: float, seed: int, most: int = MOST + 2) -> SamplingParams:
    extra = None
    if concepts is not None:
        extra = {"ctrlg": {"constraint": Keywords(concepts).to_dict(), "suffix": SUFFIX, "max_new_tokens": MOST}}
    return SamplingParams(temperature=temperature, seed=seed, max_tokens=most, extra_args=extra)


def first_token(llm: LLM, concepts: Any) -> float:
    """Seconds from a request to its first token."""
    engine = llm.llm_engine
    parameters = parameters_of(concepts, 0.7, 0)
    started = time.perf_counter()
    engine.add_request(f"first-{started}", {"prompt_token_ids": [0]}, parameters)
    seconds = None
    while engine.has_unfinished_requests():
        outputs = engine.step()
        if seconds is None and any(output.outputs[0].token_ids for output in outputs):
            seconds = time.perf_counter() - started
    return seconds or float("nan")


def report(name: str, found: dict[str, Any]) -> None:
    print(name, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
