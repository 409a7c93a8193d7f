"""Draw sequences from a language model, with the embeddings that predicted each token.

    python distillation/sample_data.py --model_name_or_path default --chunk_size 5000 --total_chunks 8 \\
        --batch_size 256 --bfloat16 --save_embeddings --output_file runs/samples/commongen.train
    python distillation/sample_data.py --model_name_or_path model.gguf --input_file prompts.txt --chat_template ...
    torchrun --nproc_per_node 4 distillation/sample_data.py --model_name_or_path gpt2 --input_file prompts.json ...

Flags are Ctrl-G's. Without --input_file the prompt is the end-of-text token alone. Chunk i goes to OUTPUT_FILE.i (to
OUTPUT_FILE where there is one chunk), embeddings to the same name + ".embeddings". Both are safetensors, or, with
--format pt, tensors for torch.load as Ctrl-G's scripts read them; ours read either. Row r of the whole job continues
prompt r modulo the number of prompts. A job that was interrupted goes on with the next batch and ends with the same
data, as does one that is spread over more processes.
"""

from __future__ import annotations

import argparse
from typing import get_args

import torch

from ctrlg.distillation.processes import joined_processes
from ctrlg.distillation.progress import drawing_bar
from ctrlg.distillation.sampling.chunks import DrawingSettings, draw_chunks
from ctrlg.distillation.sampling.prompts import encode_prompts, end_of_text, read_prompts
from ctrlg.distillation.sampling.samples import SamplingSettings
from ctrlg.distillation.sampling.storage import Format
from ctrlg.errors import ArgumentError
from ctrlg.files.outputs import check_output_file
from ctrlg.loading.language_models import load_language_model, load_tokenizer
from ctrlg.terminal.console import as_program
from ctrlg.terminal.flags import PlainArgumentParser


def main() -> None:
    arguments = parse_arguments()
    if arguments.float16 and arguments.bfloat16:
        raise ArgumentError("--float16 and --bfloat16 were both given", hint="choose one")
    if arguments.chat_template and not arguments.input_file:
        raise ArgumentError("--chat_template without --input_file", hint="name a file of what the user says")
    dtype = torch.float16 if arguments.float16 else torch.bfloat16 if arguments.bfloat16 else torch.float32
    settings = DrawingSettings(
        SamplingSettings(arguments.max_new_tokens, arguments.temperature, arguments.top_k, arguments.top_p),
        arguments.chunk_size,
        arguments.total_chunks,
        arguments.batch_size,
        arguments.save_embeddings,
        arguments.seed,
        arguments.format,
    )
    texts = read_prompts(arguments.input_file, arguments.prompt_column) if arguments.input_file else []
    check_output_file(arguments.output_file)
    named = arguments.tokenizer_name_or_path
    other_tokenizer = load_tokenizer(named) if named else None
    with joined_processes(arguments.device) as processes:
        model, own_tokenizer = load_language_model(arguments.model_name_or_path, processes.device, dtype)
        tokenizer = own_tokenizer if other_tokenizer is None else other_tokenizer
        eos_token_id = end_of_text(tokenizer, arguments.eos_token)
        prompts = encode_prompts(tokenizer, texts, arguments.chat_template) if texts else [[eos_token_id]]
        with drawing_bar(shown=processes.rank == 0) as progress:
            draw_chunks(model, prompts, eos_token_id, settings, arguments.output_file, processes, progress)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    defaults = SamplingSettings()
    parser.add_argument("--model_name_or_path", required=True, help="Hugging Face id, folder, GGUF file, or default")
    parser.add_argument("--tokenizer_name_or_path", default="", help="where it is not the model's own")
    parser.add_argument("--input_file", default="", help="prompts: a JSON list, .jsonl, or .txt with one a line")
    parser.add_argument("--prompt_column", default="prompt", help="of the objects of a .jsonl file (default: prompt)")
    parser.add_argument("--chat_template", action="store_true", help="every prompt is a user's turn of a chat")
    parser.add_argument("--output_file", required=True)
    parser.add_argument("--format", default="safetensors", choices=get_args(Format), help="of the files")
    parser.add_argument("--chunk_size", type=int, default=32, help="sequences per chunk")
    parser.add_argument("--total_chunks", type=int, default=1)
    parser.add_argument("--batch_size", type=int, default=32, help="sequences drawn at once")
    parser.add_argument("--max_new_tokens", type=int, default=128)
    parser.add_argument("--save_embeddings", action="store_true")
    parser.add_argument(
        "--cache_prompt_past_key_values",
        action="store_true",
        help="as in Ctrl-G; prompts are always cached here",
    )
    parser.add_argument("--float16", action="store_true")
    parser.add_argument("--bfloat16", action="store_true", help="faster on processors that have it")
    parser.add_argument("--temperature", type=float, default=defaults.temperature)
    parser.add_argument("--top_k", type=int, default=defaults.top_k, help="0 is off")
    parser.add_argument("--top_p", type=float, default=defaults.top_p)
    parser.add_argument("--eos_token", default="", help="end of a sequence (default: the tokenizer's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default=None, help="cpu or cuda (default: cuda where there is one)")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
