"""Draw sequences from a language model, with the embeddings that predicted each token.

    python distillation/sample_data.py --model_name_or_path default --chunk_size 5000 --total_chunks 8 \\
        --save_embeddings --output_file runs/samples/commongen.train
    torchrun --nproc_per_node 4 distillation/sample_data.py --model_name_or_path gpt2 --input_file prompts.json ...

Flags are Ctrl-G's. Without --input_file the prompt is the end-of-text token alone. Chunk i goes to OUTPUT_FILE.i (to
OUTPUT_FILE where there is one chunk), embeddings to the same name + ".embeddings"; both are safetensors. Chunks that
exist are not drawn again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from rich.progress import Progress, TaskID
from transformers import AutoTokenizer

from ctrlg.distillation.processes import Processes, joined_processes
from ctrlg.distillation.sampling import Samples, SamplingSettings, sample, token_mask
from ctrlg.distillation.storage import EMBEDDINGS_SUFFIX, read_embeddings, read_sequences, write_samples
from ctrlg.errors import ArgumentError, DataError
from ctrlg.files import writable_folder
from ctrlg.models import load_language_model


def main() -> None:
    arguments = parse_arguments()
    if arguments.float16 and arguments.bfloat16:
        raise ArgumentError("--float16 and --bfloat16 were both given", hint="choose one")
    dtype = torch.float16 if arguments.float16 else torch.bfloat16 if arguments.bfloat16 else torch.float32
    writable_folder(Path(arguments.output_file).parent)
    with joined_processes(arguments.device) as processes:
        model, tokenizer = load_language_model(arguments.model_name_or_path, processes.device, dtype)
        if arguments.tokenizer_name_or_path:
            tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer_name_or_path)
        eos_token_id = tokenizer.convert_tokens_to_ids(arguments.eos_token) if arguments.eos_token else None
        eos_token_id = tokenizer.eos_token_id if eos_token_id is None else eos_token_id
        prompts = read_prompts(arguments.input_file, tokenizer, eos_token_id)
        with Progress(disable=processes.rank != 0) as progress:
            task = progress.add_task("sampling", total=arguments.chunk_size * arguments.total_chunks)
            for chunk in range(arguments.total_chunks):
                file = Path(f"{arguments.output_file}.{chunk}" if arguments.total_chunks > 1 else arguments.output_file)
                if not file.is_file():
                    draw_chunk(arguments, processes, model, prompts, eos_token_id, chunk, file, progress, task)
                progress.update(task, completed=arguments.chunk_size * (chunk + 1))


def draw_chunk(
    arguments: argparse.Namespace,
    processes: Processes,
    model: object,
    prompts: list[list[int]],
    eos_token_id: int,
    chunk: int,
    file: Path,
    progress: Progress,
    task: TaskID,
) -> None:
    """Every prompt gets its share, every process its part of each share; process 0 joins the parts."""
    settings = SamplingSettings(arguments.max_new_tokens, arguments.temperature, arguments.top_k, arguments.top_p)
    generator = torch.Generator(processes.device)
    generator.manual_seed((arguments.seed * 1_000_003 + chunk) * 1009 + processes.rank)
    drawn: list[Samples] = []
    for index, prompt in enumerate(prompts):
        share = part_of(part_of(arguments.chunk_size, len(prompts), index), processes.world_size, processes.rank)
        for start in range(0, share, arguments.batch_size):
            count = min(arguments.batch_size, share - start)
            drawn.append(sample(model, prompt, count, settings, eos_token_id, generator, arguments.save_embeddings))
            progress.update(task, advance=count * processes.world_size)
    part = file if processes.world_size == 1 else Path(f"{file}.part{processes.rank}")
    write_samples(part, joined(drawn), {"eos_token_id": str(eos_token_id), "seed": str(arguments.seed)})
    processes.wait()
    if processes.rank == 0 and processes.world_size > 1:
        join_parts(file, processes.world_size, eos_token_id, arguments.save_embeddings)
    processes.wait()


def join_parts(file: Path, world_size: int, eos_token_id: int, embeddings: bool) -> None:
    parts = [Path(f"{file}.part{rank}") for rank in range(world_size)]
    samples = []
    for part in parts:
        sequences = read_sequences(part)
        vectors = None
        if embeddings:
            vectors = read_embeddings(f"{part}{EMBEDDINGS_SUFFIX}", token_mask(sequences, eos_token_id))
        samples.append(Samples(sequences, vectors))
    write_samples(file, joined(samples), {"eos_token_id": str(eos_token_id)})
    for part in parts:
        part.unlink()
        Path(f"{part}{EMBEDDINGS_SUFFIX}").unlink(missing_ok=True)


def joined(samples: list[Samples]) -> Samples:
    vectors = [part.embeddings for part in samples if part.embeddings is not None]
    return Samples(torch.cat([part.sequences for part in samples]), torch.cat(vectors) if vectors else None)


def part_of(total: int, parts: int, index: int) -> int:
    """Size of one of `parts` shares of `total` that differ by one at most."""
    return total // parts + (index < total % parts)


def read_prompts(path: str, tokenizer: object, eos_token_id: int) -> list[list[int]]:
    """Token ids of the prompts in a JSON list; the end-of-text token alone where no file is named."""
    if not path:
        return [[eos_token_id]]
    try:
        prompts = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read prompts from {path}: {error}", hint="a JSON list of texts") from error
    if not isinstance(prompts, list) or not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        raise DataError(f"{path} is not a list of texts", hint='for example ["<|endoftext|>"]')
    return [tokenizer.encode(prompt) for prompt in prompts]  # type: ignore[attr-defined]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", required=True)
    parser.add_argument("--tokenizer_name_or_path", default="", help="where it is not the model's own")
    parser.add_argument("--input_file", default="", help="JSON list of prompts")
    parser.add_argument("--output_file", required=True)
    parser.add_argument("--chunk_size", type=int, default=32, help="sequences per chunk")
    parser.add_argument("--total_chunks", type=int, default=1)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_new_tokens", type=int, default=128)
    parser.add_argument("--save_embeddings", action="store_true")
    parser.add_argument(
        "--cache_prompt_past_key_values",
        action="store_true",
        help="as in Ctrl-G; prompts are always cached here",
    )
    parser.add_argument("--float16", action="store_true")
    parser.add_argument("--bfloat16", action="store_true", help="faster on processors that have it")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top_k", type=int, default=0)
    parser.add_argument("--top_p", type=float, default=1.0)
    parser.add_argument("--eos_token", default="", help="end of a sequence (default: the tokenizer's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default=None, help="cpu or cuda (default: cuda where there is one)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
