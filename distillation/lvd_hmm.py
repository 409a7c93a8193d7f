"""The first HMM: cluster the embeddings of sampled sequences, count states, transitions and emissions.

    python distillation/lvd_hmm.py --sequences_file runs/samples/commongen.lvd \\
        --embeddings_file runs/samples/commongen.lvd.embeddings --hidden_states 512 --vocab_size 49152 \\
        --eos_token_id 0 --model_name_or_path default --output_file runs/hmm/checkpoint-0 --figure states.png

Flags are Ctrl-G's. With --model_name_or_path the emissions are *soft*: the mean of that model's softmax over each
cluster, instead of counts. Several files: --sequences_file a b --embeddings_file a.embeddings b.embeddings; they are
read one at a time, twice, and memory does not grow with their number.
"""

from __future__ import annotations

import argparse

import torch

from ctrlg.devices import checked_device, fast_dtype
from ctrlg.distillation.first_hmm.figure import draw_states
from ctrlg.distillation.first_hmm.latent import LatentSettings, latent_variable_distillation, paired_files
from ctrlg.distillation.progress import StageBars
from ctrlg.distillation.sampling.next_tokens import describe_next_tokens
from ctrlg.distillation.sampling.output_layer import output_layer, sampling_temperature
from ctrlg.errors import ArgumentError
from ctrlg.figures import check_figure_path
from ctrlg.files.folders import HMM_FOLDER, atomic_folder, check_folder
from ctrlg.files.outputs import check_input_file
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.vocabulary.token_bytes import Vocabulary


def main() -> None:
    arguments = parse_arguments()
    settings = LatentSettings(
        hidden_states=arguments.hidden_states,
        vocab_size=arguments.vocab_size,
        eos_token_id=arguments.eos_token_id,
        iterations=arguments.kmeans_iterations,
        vectors_per_state=arguments.vectors_per_state,
        pseudocount=arguments.pseudocount,
        seed=arguments.seed,
    )
    files = paired_files(arguments.sequences_file, arguments.embeddings_file)
    checked_device(arguments.device)
    sources = [*arguments.sequences_file, *arguments.embeddings_file]
    for file in sources:
        check_input_file(file, "the samples")
    sources += [arguments.model_name_or_path] if arguments.model_name_or_path else []
    check_folder(arguments.output_file, HMM_FOLDER, sources)
    if arguments.figure:
        check_figure_path(arguments.figure)
        if not arguments.model_name_or_path:
            raise ArgumentError("--figure shows words", hint="name the sampled model with --model_name_or_path")
    if arguments.next_tokens and (arguments.hard or not arguments.model_name_or_path):
        raise ArgumentError(
            "--next_tokens describes what the language model expected",
            hint="name the sampled model with --model_name_or_path, and leave out --hard",
        )
    head, tokenizer, fingerprint = None, None, None
    with StageBars() as bars:
        with atomic_folder(arguments.output_file, HMM_FOLDER, sources) as temporary:
            if arguments.model_name_or_path:
                dtype = fast_dtype(arguments.device)
                model, tokenizer = load_language_model(arguments.model_name_or_path, arguments.device, dtype)
                fingerprint = Vocabulary.of(tokenizer, settings.vocab_size, settings.eos_token_id).fingerprint
                if not arguments.hard:
                    head = output_layer(model, sampling_temperature(arguments.sequences_file))
            hmm, sizes = latent_variable_distillation(files, settings, head, fingerprint, arguments.device, bars)
            hmm.save_pretrained(temporary)
        for number, file in enumerate(files if arguments.next_tokens else [], start=1):
            seed = arguments.seed * len(files) + number
            describe_next_tokens(*file, head, arguments.next_tokens, settings.vocab_size, settings.eos_token_id, seed)
            bars("drawing next tokens", number, len(files))
    if arguments.figure:
        draw_states(hmm, sizes, tokenizer, arguments.figure)
    say(f"the first HMM, {settings.hidden_states:,} states, is in {arguments.output_file}")


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--sequences_file", nargs="+", required=True)
    parser.add_argument("--embeddings_file", nargs="+", required=True)
    parser.add_argument("--hidden_states", type=int, required=True, help="one of them is reserved for end-of-text")
    parser.add_argument("--vocab_size", type=int, required=True)
    parser.add_argument("--eos_token_id", type=int, required=True)
    parser.add_argument("--kmeans_iterations", type=int, default=20)
    parser.add_argument("--vectors_per_state", type=int, default=256, help="bound on vectors k-means is trained on")
    parser.add_argument("--pseudocount", type=float, default=0.001)
    parser.add_argument("--model_name_or_path", default="", help="the sampled model, for soft emissions and words")
    parser.add_argument("--hard", action="store_true", help="count tokens even where a model is named")
    parser.add_argument(
        "--next_tokens",
        type=int,
        default=0,
        help="draws of the next-token distribution for every token, left beside the samples for train_hmm.py; 0: none",
    )
    parser.add_argument("--figure", default="", help="draw cluster sizes and top words into this .png, .svg or .pdf")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output_file", required=True, help="checkpoint folder")
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
