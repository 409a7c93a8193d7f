"""A constraint in llama.cpp beside free text, in one run, and how soon the first token comes.

    python benchmarks/engines/in_llama_cpp.py --dataset_path validation.jsonl

Run it where llama-cpp-python is (docs/engines.md). The model is the GGUF file behind the embedded pair "instruct".
Besides free text there is a processor that does nothing, which shows what llama-cpp-python's own way to a processor
costs; `ours` is the time inside of ours. On a machine with other work run it with OMP_NUM_THREADS=1 and look at
processor time, which others change little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llama_cpp import Llama, LogitsProcessorList  # pyright: ignore[reportMissingImports]

from ctrlg import Keywords
from ctrlg.engines.llama_cpp import LlamaCppProcessor
from ctrlg.engines.requests import Guiding, Request
from ctrlg.loading import load_hmm, load_tokenizer
from ctrlg.loading.embedded import base_model_file

PROMPT, SUFFIX, MOST = "Tell me about a walk.", ".", 40


class Timed:
    """A processor whose calls are timed; without one inside it does nothing."""

    def __init__(self, inside: LlamaCppProcessor | None) -> None:
        self.inside = inside
        self.seconds: list[float] = []
        self.cpu: list[float] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        started, started_cpu = time.perf_counter(), time.thread_time()
        found = scores if self.inside is None else self.inside(input_ids, scores)
        self.seconds.append(time.perf_counter() - started)
        self.cpu.append(time.thread_time() - started_cpu)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset_path", type=Path, required=True, help="CommonGen sets, one JSON object a line")
    parser.add_argument("--texts", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "2")))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = arguments.dataset_path.read_text(encoding="utf-8").splitlines()
    sets = [json.loads(line)["concepts"] for line in lines]
    threads = {"n_threads": arguments.threads, "n_threads_batch": arguments.threads}
    llama = Llama(str(base_model_file()), n_ctx=256, verbose=False, **threads)
    guiding = Guiding(load_tokenizer("instruct"), load_hmm("instruct"))
    guiding.warm_up()
    prompt = llama.tokenize(PROMPT.encode())
    write(llama, prompt, None, guiding)
    for repeat in range(arguments.repeats):
        chosen = sets[repeat * arguments.texts : (repeat + 1) * arguments.texts]
        report(f"free {repeat}", [write(llama, prompt, None, guiding) for _ in chosen])
        report(f"processor that does nothing {repeat}", [write(llama, prompt, [], guiding) for _ in chosen])
        report(f"constraint {repeat}", [write(llama, prompt, concepts, guiding) for concepts in chosen])
    five = [concepts + extra for concepts, extra in zip(sets[-8:], (["dog"], ["boat"]) * 4, strict=True)]
    five = [list(dict.fromkeys(concepts))[:5] for concepts in five if len(set(concepts)) >= 5]
    for name, asked in (("free text", [None] * len(five)), ("new, five keywords", five), ("prepared", five)):
        texts = [write(llama, prompt, concepts, guiding) for concepts in asked]
        wall, cpu = ([round(1000 * text[key]) for text in texts] for key in ("first_s", "first_cpu_s"))
        print(f"first token, {name}: {wall} ms, of processor time {cpu} ms", flush=True)


def write(llama: Llama, prompt: list[int], concepts: Sequence[str] | None, guiding: Guiding) -> dict[str, Any]:
    """One text; concepts: None for free text, none for a processor that does nothing."""
    llama.reset()
    started, started_cpu = time.perf_counter(), time.process_time()
    request = Request(Keywords([[word] for word in concepts]), suffix=SUFFIX, max_new_tokens=MOST) if concepts else None
    processor = None if concepts is None else Timed(None if request is None else LlamaCppProcessor(guiding, request))
    processors = None if processor is None else LogitsProcessorList([processor])
    first = first_cpu = None
    tokens: list[int] = []
    for token in llama.generate(prompt, temp=0.8, top_k=0, top_p=1.0, min_p=0.0, logits_processor=processors):
        if first is None:
            first, first_cpu = time.perf_counter() - started, time.process_time() - started_cpu
        tokens.append(token)
        if len(tokens) >= MOST + 2 or token == llama.token_eos():
            break
    seconds = time.perf_counter() - started
    text = llama.detokenize(tokens).decode(errors="replace")
    return {
        "first_s": first,
        "first_cpu_s": first_cpu,
        "token_s": (seconds - (first or 0.0)) / max(1, len(tokens) - 1),
        "inside_s": processor.seconds[1:] if processor is not None else [],
        "inside_cpu_s": processor.cpu[1:] if processor is not None else [],
        "kept": request is None or request.constraint.holds(text),
        "text": text,
    }


def report(name: str, texts: list[dict[str, Any]]) -> None:
    inside, cpu = ([each for text in texts for each in text[key]] for key in ("inside_s", "inside_cpu_s"))
    found = {
        "ms/token": round(1000 * statistics.mean(text["token_s"] for text in texts), 2),
        "ours, ms/token": round(1000 * statistics.mean(inside), 2) if inside else 0,
        "of processor time": round(1000 * statistics.mean(cpu), 2) if cpu else 0,
        "95th percentile": round(1000 * float(np.quantile(cpu, 0.95)), 2) if cpu else 0,
        "kept": f"{sum(text['kept'] for text in texts)} of {len(texts)}",
        "text": texts[0]["text"],
    }
    print(name, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
