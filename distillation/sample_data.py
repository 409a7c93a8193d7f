"""Sample sequences from a language model, with the embeddings that predicted each token.

    python distillation/sample_data.py --model default --chunk_size 5000 --total_chunks 8 \\
        --batch_size 256 --bfloat16 --embeddings --output runs/samples/commongen.train
    python distillation/sample_data.py --model model.gguf --prompts prompts.txt --chat_template ...
    torchrun --nproc_per_node 4 distillation/sample_data.py --model gpt2 --prompts prompts.json ...
    python distillation/sample_data.py --model gpt2 --engine vllm --engine_options '{"tensor_parallel_size": 2}' ...

Ctrl-G's names of options are understood, too. Without --prompts the prompt is the end-of-text token alone. Chunk i goes
to OUTPUT.i (to OUTPUT where there is one chunk), embeddings to the same name + ".embeddings". Both are safetensors, or,
with --format pt, tensors for torch.load as Ctrl-G's scripts read them; ours read either. Row r of the whole job
continues prompt r modulo the number of prompts. A job that was interrupted goes on with the next batch and ends with
the same data, as does one that is spread over more processes.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from ctrlg.arguments import checked
from ctrlg.distillation.sampling.settings import ChunkSettings, Engine, SamplingSettings
from ctrlg.errors import ArgumentError
from ctrlg.terminal.program import Program


@checked
def main(
    model: str,
    output: str,
    sampling: SamplingSettings,
    chunks: ChunkSettings,
    tokenizer_name_or_path: str = "",
    prompts: str = "",
    prompt_column: str = "prompt",
    chat_template: bool = False,
    cache_prompt_past_key_values: bool = False,
    float16: bool = False,
    bfloat16: bool = False,
    eos_token: str = "",
    device: str | None = None,
    engine: Engine = "transformers",
    engine_options: str = "",
) -> None:
    """Sample sequences.

    Args:
        model: Hugging Face id, folder, .gguf file, or 'default'.
        output: file of the chunks, numbered where there are several.
        tokenizer_name_or_path: where it is not the model's own.
        prompts: a JSON list, .jsonl, or .txt with one a line.
        prompt_column: of the objects of a .jsonl file.
        chat_template: every prompt is a user's turn of a chat.
        cache_prompt_past_key_values: as in Ctrl-G; prompts are always cached here.
        float16: of the language model.
        bfloat16: of the language model; faster on processors that have it.
        eos_token: ends a sequence; where empty the tokenizer's own.
        device: cpu or cuda; where None cuda if there is one.
        engine: what samples, transformers or vllm (see docs/scale.md); embeddings and next tokens then come from one
            pass of transformers over the samples.
        engine_options: for vllm.LLM, a JSON object.
    """
    import torch

    from ctrlg.distillation.processes import joined_processes
    from ctrlg.distillation.progress import sampling_bar
    from ctrlg.distillation.sampling import in_vllm
    from ctrlg.distillation.sampling.chunks import sample_chunks
    from ctrlg.distillation.sampling.prompts import encode_prompts, end_of_text, read_prompts
    from ctrlg.files.outputs import check_output_file
    from ctrlg.loading.language_models import load_language_model, load_tokenizer

    if float16 and bfloat16:
        raise ArgumentError("--float16 and --bfloat16 were both given", hint="choose one")
    if chat_template and not prompts:
        raise ArgumentError("--chat_template without --prompts", hint="name a file of what the user says")
    options = in_vllm.engine_options(engine_options)
    if engine == "vllm":
        in_vllm.require_vllm()
    dtype = torch.float16 if float16 else torch.bfloat16 if bfloat16 else torch.float32
    settings = replace(chunks, sampling=sampling)
    texts = read_prompts(prompts, prompt_column) if prompts else []
    check_output_file(output)
    other_tokenizer = load_tokenizer(tokenizer_name_or_path) if tokenizer_name_or_path else None
    with joined_processes(device) as processes, ExitStack() as closing:
        if engine == "vllm" and processes.world_size > 1:
            raise ArgumentError(
                f"--engine vllm in {processes.world_size} processes of torchrun",
                hint="start one: vLLM has processes of its own (--engine_options '{\"tensor_parallel_size\": 2}'), or "
                "one job for each machine, with an --output and --seed of its own",
            )
        loaded, own_tokenizer = load_language_model(model, processes.device, dtype)
        tokenizer = own_tokenizer if other_tokenizer is None else other_tokenizer
        eos_token_id = end_of_text(tokenizer, eos_token)
        begun = encode_prompts(tokenizer, texts, chat_template) if texts else [[eos_token_id]]
        sampler = None
        if engine == "vllm":
            longest = max(map(len, begun)) + sampling.max_new_tokens
            sampler = in_vllm.vllm_sampler(model, loaded, tokenizer, eos_token_id, longest, options, closing)
        with sampling_bar(shown=processes.rank == 0) as progress:
            sample_chunks(loaded, begun, eos_token_id, settings, output, processes, progress, sampler=sampler)


PROGRAM = Program(main, "sample_data.py", __doc__, defaults={"max_new_tokens": 128})

if __name__ == "__main__":
    PROGRAM.main()
