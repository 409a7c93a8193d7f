"""Tokens per second of sampling training data: this library against `model.generate(do_sample=True)` in a plain loop.

    python benchmarks/sampling.py                                   # the default model, batch 128, 3 pairs of runs
    python benchmarks/sampling.py --model gpt2 --batch_size 256 --dtype float32
    python benchmarks/sampling.py --prompt "The weather in Paris" --max_new_tokens 64 --embeddings --output speed.json
    python benchmarks/sampling.py --profile                         # where the time of our loop goes

Both sample from the whole distribution, from the same prompt, in the same precision and process, one after the other;
each pair has new seeds. Counted are the tokens up to and including the first end-of-text, for both alike. Ratios are
within pairs, so that a machine that is shared slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ctrlg.devices import fast_dtype, wait_for
from ctrlg.distillation.sampling.prompts import end_of_text
from ctrlg.distillation.sampling.samples import SamplingSettings, sample, token_mask
from ctrlg.files.atomic import write_json
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.flags import PlainArgumentParser, add_device_flag


class Run(NamedTuple):
    """tokens up to and including the first end-of-text, and the seconds they took."""

    tokens: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    dtype = getattr(torch, arguments.dtype) if arguments.dtype else fast_dtype(device)
    model, tokenizer = load_language_model(arguments.model, device, dtype)
    eos_token_id = end_of_text(tokenizer, arguments.eos_token)
    prompt = tokenizer.encode(arguments.prompt) if arguments.prompt else [eos_token_id]

    def ours(seed: int, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        settings = SamplingSettings(arguments.max_new_tokens)
        return sample(model, prompt, count, settings, eos_token_id, generator, arguments.embeddings).sequences

    def plain(seed: int, count: int) -> Tensor:
        return generate(model, prompt, count, arguments, eos_token_id, seed)

    if arguments.profile:
        profile(lambda: ours(0, arguments.batch_size))
        return
    for draw in (ours, plain):
        draw(0, 8)
    console = Console()
    pairs: list[tuple[Run, Run]] = []
    for pair in range(arguments.repeats):
        first, second = (ours, plain) if pair % 2 == 0 else (plain, ours)
        runs = {draw: timed(draw, pair + 1, arguments.batch_size, eos_token_id, device) for draw in (first, second)}
        pairs.append((runs[ours], runs[plain]))
        console.print(f"pair {pair + 1}: {pairs[-1][0].rate:.1f} and {pairs[-1][1].rate:.1f} tokens/s")
    report = summary(arguments, dtype, pairs)
    console.print(as_table(report))
    if arguments.output:
        write_json(arguments.output, report)


def generate(
    model: Any, prompt: list[int], count: int, arguments: argparse.Namespace, eos_token_id: int, seed: int
) -> Tensor:
    """What a plain loop does: transformers' own sampling, the prompt repeated over the batch."""
    torch.manual_seed(seed)
    rows = torch.tensor([prompt] * count, device=model.device)
    output = model.generate(
        rows,
        attention_mask=torch.ones_like(rows),
        do_sample=True,
        top_k=0,
        top_p=1.0,
        temperature=1.0,
        max_new_tokens=arguments.max_new_tokens,
        eos_token_id=eos_token_id,
        pad_token_id=eos_token_id,
        output_hidden_states=arguments.embeddings,
        return_dict_in_generate=True,
    )
    if arguments.embeddings:
        torch.stack([hidden[-1][:, -1] for hidden in output.hidden_states], 1).cpu()
    return output.sequences[:, len(prompt) :].cpu()


def timed(draw: Callable[[int, int], Tensor], seed: int, count: int, eos_token_id: int, device: torch.device) -> Run:
    started = time.perf_counter()
    sequences = draw(seed, count)
    wait_for(device)
    return Run(int(token_mask(sequences, eos_token_id).sum()), time.perf_counter() - started)


def summary(arguments: argparse.Namespace, dtype: torch.dtype, pairs: list[tuple[Run, Run]]) -> dict[str, Any]:
    ratios = sorted(ours.rate / plain.rate for ours, plain in pairs)
    return {
        "model": arguments.model,
        "device": arguments.device,
        "dtype": str(dtype).removeprefix("torch."),
        "threads": arguments.threads,
        "batch_size": arguments.batch_size,
        "max_new_tokens": arguments.max_new_tokens,
        "embeddings": arguments.embeddings,
        "tokens_per_sequence": statistics.mean(ours.tokens for ours, _ in pairs) / arguments.batch_size,
        "tokens_per_second": statistics.median(ours.rate for ours, _ in pairs),
        "generate_tokens_per_second": statistics.median(plain.rate for _, plain in pairs),
        "ratio": statistics.median(ratios),
        "least_ratio": ratios[0],
        "greatest_ratio": ratios[-1],
        "runs": [{"ours": ours._asdict(), "generate": plain._asdict()} for ours, plain in pairs],
    }


def as_table(report: dict[str, Any]) -> Table:
    table = Table(title=f"{report['model']}, {report['dtype']}, batch {report['batch_size']}")
    for column in ("", "tokens/s"):
        table.add_column(column, justify="right")
    table.add_row("model.generate", f"{report['generate_tokens_per_second']:.1f}")
    table.add_row("this library", f"{report['tokens_per_second']:.1f}")
    table.add_row("ratio", f"{report['ratio']:.2f} ({report['least_ratio']:.2f} to {report['greatest_ratio']:.2f})")
    return table


def profile(draw: Callable[[], Tensor]) -> None:
    draw()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        draw()
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=40))


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--model", default="default", help="Hugging Face id, folder or GGUF file (default: SmolLM2)")
    parser.add_argument("--prompt", default="", help="text of the prompt (default: end-of-text alone)")
    parser.add_argument("--eos_token", default="", help="end of a sequence (default: the tokenizer's)")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--max_new_tokens", type=int, default=32)
    parser.add_argument("--embeddings", action="store_true", help="keep the last hidden states, too")
    parser.add_argument("--dtype", default="", choices=["", "float32", "bfloat16", "float16"], help="default: fastest")
    add_device_flag(parser)
    parser.set_defaults(device="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    parser.add_argument("--profile", action="store_true", help="print a profile of our loop instead")
    parser.add_argument("--output", default="", help="JSON file of the report")
    return parser.parse_args()


if __name__ == "__main__":
    main()
