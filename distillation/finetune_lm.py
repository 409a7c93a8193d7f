"""Adapt a language model to a file of sentences with LoRA, before an HMM is distilled from it.

    python distillation/finetune_lm.py --data_file train.jsonl --output runs/adapter
    python distillation/finetune_lm.py --model_name_or_path gpt2 --data_file sentences.txt --output runs/gpt2

The adapter with the least held-out loss is left in OUTPUT/adapter (peft format); an interrupted run goes on.
"""

from __future__ import annotations

import argparse

import torch
from rich.console import Console

from ctrlg.distillation.adaptation import AdaptationSettings, adapt
from ctrlg.distillation.sentences import encode_sentences, read_sentences, split_groups
from ctrlg.files import writable_folder
from ctrlg.models import DEFAULT_BASE, fast_dtype, load_language_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = AdaptationSettings()
    parser.add_argument("--model_name_or_path", default=DEFAULT_BASE, help="causal language model (default: SmolLM2)")
    parser.add_argument("--data_file", required=True, help=".txt or .jsonl of sentences")
    parser.add_argument("--column", default="references", help="column of a .jsonl file (default: references)")
    parser.add_argument("--eos_token", default="<|endoftext|>", help="stands before and after every sentence")
    parser.add_argument("--held_out", type=int, default=1000, help="sentences that choose the adapter")
    parser.add_argument("--rank", type=int, default=defaults.rank)
    parser.add_argument("--learning_rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size)
    parser.add_argument("--epochs", type=float, default=defaults.epochs)
    parser.add_argument("--evaluate_every", type=int, default=defaults.evaluate_every, help="steps")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", required=True, help="folder")
    arguments = parser.parse_args()

    settings = AdaptationSettings(
        rank=arguments.rank,
        learning_rate=arguments.learning_rate,
        batch_size=arguments.batch_size,
        epochs=arguments.epochs,
        evaluate_every=arguments.evaluate_every,
        seed=arguments.seed,
    )
    writable_folder(arguments.output)
    groups = read_sentences(arguments.data_file, arguments.column)
    training, held_out = split_groups(groups, arguments.held_out)
    model, tokenizer = load_language_model(
        arguments.model_name_or_path,
        arguments.device,
        fast_dtype(arguments.device),
        attn_implementation="eager",
    )
    eos_token_id = tokenizer.convert_tokens_to_ids(arguments.eos_token)
    console = Console()
    result = adapt(
        model.train(),
        encode_sentences(tokenizer, training, eos_token_id),
        encode_sentences(tokenizer, held_out, eos_token_id),
        arguments.output,
        settings,
        report=console.print,
    )
    console.print(
        f"held-out loss {result.loss_before:.3f} -> {result.best_loss:.3f} nats per token (step {result.best_step} of "
        f"{result.steps}); the adapter is in {arguments.output}/adapter"
    )


if __name__ == "__main__":
    main()
