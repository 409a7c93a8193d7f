"""The commands `ctrlg distill` and `ctrlg train`; what they import, they import when they run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ctrlg.terminal.console import new_console

DISTILL_EXAMPLES = """
Examples:

  ctrlg distill HuggingFaceTB/SmolLM2-135M-Instruct runs/mine --hidden-states 512 --sequences 50000

  ctrlg distill runs/my-model runs/quick --hidden-states 64 --sequences 1000 --held-out 200 --max-new-tokens 24

  ctrlg distill gpt2 runs/stories --prompts prompts.txt --max-new-tokens 128 --device cuda

A job that was stopped goes on when the same command is given again.
"""

TRAIN_EXAMPLES = """
Examples:

  ctrlg train runs/hmm runs/samples commongen --em-schedule "4,8" --total-chunks 8 --prior-strength 300

  ctrlg train runs/hmm runs/samples commongen --em-schedule "100,1" --quantization-step 20 --quantization-bits 4 \\
      --plot runs/hmm/training.png

Several processes: torchrun --nproc_per_node 4 distillation/train_hmm.py, with the same meaning.
"""


def distill(
    model: Annotated[str, typer.Argument(help="Hugging Face id, folder, .gguf file, or 'default'.")],
    output: Annotated[Path, typer.Argument(help="Folder for samples, checkpoints and the compressed HMM.")],
    hidden_states: Annotated[int, typer.Option(help="Of the HMM; one is reserved for end-of-text.")] = 512,
    sequences: Annotated[int, typer.Option(help="Sequences to sample for training.")] = 50_000,
    held_out: Annotated[int, typer.Option(help="Sequences to choose by, and as many again to judge by.")] = 2_000,
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens of a sequence.")] = 32,
    prompts: Annotated[str, typer.Option(help=".json, .jsonl or .txt; default: end-of-text alone.")] = "",
    chat_template: Annotated[bool, typer.Option("--chat-template", help="A prompt is a user's turn.")] = False,
    eos_token: Annotated[str, typer.Option(help="Ends a sequence; default: the tokenizer's.")] = "",
    temperature: Annotated[float, typer.Option(help="Of the draws.")] = 1.0,
    soft_steps: Annotated[int, typer.Option(help="Most steps of EM with soft emission counts.")] = 20,
    one_hot_steps: Annotated[int, typer.Option(help="Most steps after them, with the sampled tokens.")] = 5,
    next_tokens: Annotated[int, typer.Option(help="Draws a place for soft emission counts.")] = 32,
    soft_prior: Annotated[float, typer.Option(help="Observations a state, spread as the first emissions.")] = 50.0,
    one_hot_prior: Annotated[float, typer.Option(help="The same for the later steps.")] = 1000.0,
    bits: Annotated[int, typer.Option(help="Bits of a code, 1 to 8.")] = 5,
    max_bytes: Annotated[int | None, typer.Option(help="Of the result; default: 1 % of float32, or more.")] = None,
    batch_size: Annotated[int, typer.Option(help="Sequences drawn at once.")] = 256,
    embedded_sequences: Annotated[
        int | None, typer.Option(help="Sequences that keep hidden states, 1 KB a token; default: all.")
    ] = None,
    soft_sequences: Annotated[
        int | None, typer.Option(help="Sequences a step with soft counts reads, in turn; default: all.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="To end within, with what there is then.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Turn a language model into a compressed HMM: sample, cluster, train, compress."""
    from ctrlg.distillation.pipeline import distill as run
    from ctrlg.distillation.pipeline_settings import DistillationSettings

    console = new_console()
    result = run(
        DistillationSettings(
            model=model,
            output=output,
            hidden_states=hidden_states,
            sequences=sequences,
            held_out=held_out,
            max_new_tokens=max_new_tokens,
            prompts=prompts,
            chat_template=chat_template,
            eos_token=eos_token,
            temperature=temperature,
            soft_steps=soft_steps,
            one_hot_steps=one_hot_steps,
            next_tokens=next_tokens,
            soft_prior=soft_prior,
            one_hot_prior=one_hot_prior,
            bits=bits,
            max_bytes=max_bytes,
            batch_size=batch_size,
            embedded_sequences=embedded_sequences,
            soft_sequences=soft_sequences,
            seconds=seconds,
            seed=seed,
            device=device,
        ),
        console,
    )
    outcome = result.outcome
    console.print(
        f"nats per held-out token: language model {outcome.language_model:.3f}, HMM {outcome.trained:.3f}, "
        f"compressed {outcome.compressed:.3f}, unigram {outcome.unigram:.3f}\n"
        f"{outcome.float_bytes:,} bytes -> {outcome.file_bytes:,} in {result.folder}; the card is {output}/README.md\n"
        f"ctrlg generate --model {model} --hmm {result.folder} --keywords ...",
        highlight=False,
        soft_wrap=True,
    )


def train(
    model_path: Annotated[str, typer.Argument(help="Folder with checkpoint-0; checkpoints and best go there.")],
    data_path: Annotated[str, typer.Argument(help="Folder of samples.")],
    dataset: Annotated[str, typer.Argument(help="Their name: DATA_PATH/DATASET.train.0 ..., DATASET.dev.")],
    em_schedule: Annotated[str, typer.Option(help='"steps,chunks;...", as "10,1;5,2".')],
    total_chunks: Annotated[int, typer.Option(help="Chunks there are.")] = 1,
    checkpoint: Annotated[int, typer.Option(help="To start from.")] = 0,
    save_per_step: Annotated[int, typer.Option(help="Chunks between checkpoints that are kept.")] = 50,
    batch_size: Annotated[int, typer.Option(help="Sequences of a batch.")] = 256,
    dropout: Annotated[float, typer.Option(help="Share of tokens made missing.")] = 0.001,
    pseudocount: Annotated[float, typer.Option(help="Spread over every row of counts.")] = 0.001,
    next_tokens: Annotated[bool, typer.Option("--next-tokens", help="Soft emission counts.")] = False,
    prior_strength: Annotated[float, typer.Option(help="Observations a state, as the prior's emissions.")] = 0.0,
    prior_checkpoint: Annotated[int, typer.Option(help="Whose emissions are the prior.")] = 0,
    quantization_step: Annotated[int, typer.Option(help="EM steps between quantisations; 0: none.")] = 0,
    quantization_bits: Annotated[int, typer.Option(help="Bits of quantised rows.")] = 8,
    quantization_method: Annotated[str, typer.Option(help="norm-q, norm-q-max, log-norm-q, k-means.")] = "norm-q",
    quantization_initial: Annotated[
        bool | None, typer.Option(help="The initial distribution too; by default with norm-q and norm-q-max.")
    ] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after so many steps without a better dev.")] = None,
    seed: Annotated[int, typer.Option(help="Of dropout.")] = 0,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Faster products, where the processor has it.")] = False,
    seconds: Annotated[float | None, typer.Option(help="To end within, with what there is then.")] = None,
    log_file: Annotated[str | None, typer.Option(help="Default: MODEL_PATH/log.jsonl; *.txt: tabs.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Likelihood over steps, .png or .svg.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """EM on sampled sequences, Norm-Q aware if asked; goes on where it was stopped."""
    from ctrlg.distillation.em.plot import check_plot, plot_training
    from ctrlg.distillation.em.settings import TrainingSettings
    from ctrlg.distillation.em.trainer import train as run
    from ctrlg.distillation.processes import joined_processes

    settings = TrainingSettings(
        model_path=model_path,
        data_path=data_path,
        dataset=dataset,
        em_schedule=em_schedule,
        log_file=log_file or f"{model_path}/log.jsonl",
        checkpoint=checkpoint,
        total_chunks=total_chunks,
        save_per_step=save_per_step,
        batch_size=batch_size,
        dropout=dropout,
        pseudocount=pseudocount,
        next_tokens=next_tokens,
        prior_strength=prior_strength,
        prior_checkpoint=prior_checkpoint,
        quantization_step=quantization_step,
        quantization_bit_width=quantization_bits,
        quantization_method=quantization_method,
        quantization_initial=quantization_initial,
        patience=patience,
        seed=seed,
        bfloat16=bfloat16,
        seconds=seconds,
    )
    if plot is not None:
        check_plot(settings.log_file, plot)
    with joined_processes(device) as processes:
        run(settings, processes)
    if plot is not None:
        plot_training(settings.log_file, plot, command=" ".join(["ctrlg", *sys.argv[1:]]))
