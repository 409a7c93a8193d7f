"""Training data sampled by vLLM beside those sampled here, for prompts of several lengths, in one run.

    python benchmarks/engines/sampling_in_vllm.py --batch_size 256 --embeddings

Run it where vLLM is (docs/engines.md). Both sample the same number of sequences after the same prompts, in pairs, from
the whole distribution; counted are the tokens up to and including the first end-of-text. With --embeddings both leave
the last hidden states, vLLM's from a pass of transformers over its sequences. Ratios are within pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")

import torch

from ctrlg.distillation.sampling.chunks import sample_chunks
from ctrlg.distillation.sampling.in_vllm import VllmSampler
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.settings import ChunkSettings, SamplingSettings
from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.loading.embedded import default_model_path
from ctrlg.loading.language_models import load_language_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt_tokens", type=int, nargs="+", default=[5, 20, 100])
    parser.add_argument("--prompts", type=int, default=16, help="distinct ones")
    parser.add_argument("--batch_size", type=int, default=256, help="sequences of a run")
    parser.add_argument("--max_new_tokens", type=int, default=32)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--embeddings", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "2")))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dtype = getattr(torch, arguments.dtype)
    model, _ = load_language_model("default", "cpu", dtype)
    longest = max(arguments.prompt_tokens) + arguments.max_new_tokens
    with VllmSampler(default_model_path(), dtype, longest) as sampler, tempfile.TemporaryDirectory() as folder:
        run(model, made_prompts(model, 5, 2), arguments, Path(folder), sampler, 0, 8)
        run(model, made_prompts(model, 5, 2), arguments, Path(folder), None, 0, 8)
        for length in arguments.prompt_tokens:
            prompts = made_prompts(model, length, arguments.prompts)
            pairs = []
            for repeat in range(arguments.repeats):
                engines = [None, sampler] if repeat % 2 == 0 else [sampler, None]
                rates = {
                    engine is None: run(model, prompts, arguments, Path(folder), engine, repeat + 1)
                    for engine in engines
                }
                pairs.append((rates[True], rates[False]))
            report(length, pairs)


def made_prompts(model: Any, length: int, count: int) -> list[list[int]]:
    """Prompts of the model's own, so that they are like text."""
    begun = torch.zeros(count, 1, dtype=torch.long)
    torch.manual_seed(length)
    rows = model.generate(
        begun,
        attention_mask=torch.ones_like(begun),
        do_sample=True,
        min_new_tokens=length,
        max_new_tokens=length,
        pad_token_id=0,
    )
    return rows[:, 1:].tolist()


def run(
    model: Any,
    prompts: list[list[int]],
    arguments: argparse.Namespace,
    folder: Path,
    sampler: VllmSampler | None,
    seed: int,
    count: int | None = None,
) -> float:
    """Tokens per second."""
    count = int(count or arguments.batch_size)
    sampling = SamplingSettings(arguments.max_new_tokens)
    wanted = ChunkSettings(sampling, count, 1, count, embeddings=arguments.embeddings, seed=seed)
    output = folder / f"{len(prompts[0])}-{seed}-{count}-{sampler is None}"
    started = time.perf_counter()
    (file,) = sample_chunks(model, prompts, 0, wanted, output, sampler=sampler)
    seconds = time.perf_counter() - started
    return float(token_mask(read_sequences(file), 0).sum()) / seconds


def report(length: int, pairs: list[tuple[float, float]]) -> None:
    ratios = sorted(there / here for here, there in pairs)
    found = {
        "prompt tokens": length,
        "transformers": round(statistics.median(here for here, _ in pairs), 1),
        "vllm": round(statistics.median(there for _, there in pairs), 1),
        "ratio": [round(ratio, 2) for ratio in (ratios[0], statistics.median(ratios), ratios[-1])],
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
