"""The first HMM: cluster the embeddings of sampled sequences, count states, transitions and emissions.

    python distillation/lvd_hmm.py --sequences_file runs/samples/commongen.lvd \\
        --embeddings_file runs/samples/commongen.lvd.embeddings --hidden_states 512 --vocab_size 49152 \\
        --eos_token_id 0 --model_name_or_path default --output_file runs/hmm/checkpoint-0

Flags are Ctrl-G's. With --model_name_or_path the emissions are *soft*: the mean of that model's softmax over each
cluster, instead of counts. Several files are joined: --sequences_file a b --embeddings_file a.embeddings b.embeddings.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from ctrlg.automata.vocabulary import Vocabulary
from ctrlg.distillation.latent import assign_states, count_states, initial_estimate, soft_emissions
from ctrlg.distillation.sampling import token_mask
from ctrlg.distillation.storage import read_embeddings, read_sequences
from ctrlg.files import writable_folder
from ctrlg.hmm import HMM
from ctrlg.models import load_language_model


def main() -> None:
    arguments = parse_arguments()
    states, vocabulary, eos = arguments.hidden_states, arguments.vocab_size, arguments.eos_token_id
    writable_folder(Path(arguments.output_file).parent)
    console = Console()
    parts = [read_sequences(file) for file in arguments.sequences_file]
    embeddings = torch.cat(
        [
            read_embeddings(file, token_mask(part, eos))
            for file, part in zip(arguments.embeddings_file, parts, strict=True)
        ]
    )
    sequences = torch.cat(parts)
    console.print(f"{len(sequences):,} sequences, {len(embeddings):,} tokens: k-means into {states - 1} clusters")
    latent = assign_states(sequences, embeddings, states, eos, arguments.kmeans_iterations, arguments.seed)
    counts = count_states(sequences, latent, states, vocabulary, eos)
    emission, fingerprint = None, None
    if arguments.model_name_or_path:
        model, tokenizer = load_language_model(arguments.model_name_or_path, arguments.device, torch.bfloat16)
        fingerprint = Vocabulary.of(tokenizer, vocabulary, eos).fingerprint
        with Progress() as progress:
            task = progress.add_task("soft emissions", total=len(embeddings))
            emission = soft_emissions(
                model.get_output_embeddings(),
                embeddings,
                latent.states,
                states,
                vocabulary,
                eos,
                report=lambda count: progress.advance(task, count),
            )
    estimate = initial_estimate(counts, emission, arguments.pseudocount)
    HMM.of_parameters(estimate.transition, estimate.emission, estimate.initial, eos, fingerprint).save_pretrained(
        arguments.output_file
    )
    console.print(f"the first HMM is in {arguments.output_file}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences_file", nargs="+", required=True)
    parser.add_argument("--embeddings_file", nargs="+", required=True)
    parser.add_argument("--hidden_states", type=int, required=True, help="one of them is reserved for end-of-text")
    parser.add_argument("--vocab_size", type=int, required=True)
    parser.add_argument("--eos_token_id", type=int, required=True)
    parser.add_argument("--kmeans_iterations", type=int, default=20)
    parser.add_argument("--pseudocount", type=float, default=0.001)
    parser.add_argument("--model_name_or_path", default="", help="the sampled model, for soft emissions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output_file", required=True, help="checkpoint folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
