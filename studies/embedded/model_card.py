"""Numbers of a model card: likelihood of an HMM before and after compression, beside its language model and a unigram.

    python -m studies.embedded.model_card --hmm runs/hmm512/best --held_out runs/samples/commongen.test \\
        --training runs/samples/commongen.train.0 --model_name_or_path default --output runs/card.md
    python -m studies.embedded.model_card --hmm runs/instruct/best --held_out runs/instruct/data.test \\
        --prompts train.txt --chat_template --training runs/instruct/data.train.0 --model_name_or_path instruct \\
        --bits 5 --max_bytes 2980000 --output runs/card.md

KLseq (nats lost per token on sequences drawn from the float HMM) measures the compression alone.
"""

from __future__ import annotations

import argparse

from ctrlg.devices import fast_dtype
from ctrlg.distillation.likelihoods import language_model_log_likelihood, unigram_log_likelihood
from ctrlg.distillation.sampling.prompts import encode_prompts, read_prompts
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.files.atomic import write_lines
from ctrlg.files.outputs import check_input_file, check_output_file
from ctrlg.hmm import HMM
from ctrlg.inspection import fidelity_table, markdown_table
from ctrlg.loading.language_models import load_language_model
from ctrlg.quantization.rows import check_bits
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser


def main() -> None:
    arguments = parse_arguments()
    check_output_file(arguments.output)
    for file in (arguments.held_out, *arguments.training):
        check_input_file(file, "the samples")
    check_bits(arguments.bits, 8)
    hmm = HMM.from_pretrained(arguments.hmm, map_location=arguments.device)
    held_out = read_sequences(arguments.held_out)
    settings: list[dict[str, object]] = [
        {"method": method, "bits": bits} for method in ("norm-q", "log-norm-q") for bits in (8, 4, 3, 2)
    ]
    settings.append(
        {"method": "log-norm-q", "bits": arguments.bits, "max_bytes": arguments.max_bytes or hmm.nbytes // 100}
    )
    rows = fidelity_table(hmm, settings, held_out, sequences=arguments.sequences, length=24, seed=arguments.seed)
    tokens = int(token_mask(held_out, hmm.eos_token_id).sum())
    model, tokenizer = load_language_model(arguments.model_name_or_path, arguments.device, fast_dtype(arguments.device))
    prompts = [[hmm.eos_token_id]]
    if arguments.prompts:
        prompts = encode_prompts(tokenizer, read_prompts(arguments.prompts), arguments.chat_template)
    score = language_model_log_likelihood(model, prompts, held_out, hmm.eos_token_id)
    floor = unigram_log_likelihood(map(read_sequences, arguments.training), held_out, hmm.vocab_size, hmm.eos_token_id)
    lines = [
        f"Held-out text: {len(held_out):,} sampled texts, {tokens:,} tokens.",
        f"Language model on it: {score:.3f} nats per token; unigram: {floor:.3f}.",
        f"The last line is compressed to {arguments.max_bytes or hmm.nbytes // 100:,} bytes at most.",
        "",
        markdown_table(rows),
    ]
    write_lines(arguments.output, "\n".join(lines))
    say("\n".join(lines))


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hmm", required=True, help="folder of a float HMM")
    parser.add_argument("--held_out", required=True, help="sampled sequences it has not seen")
    parser.add_argument("--training", nargs="+", required=True, help="sampled sequences, for the unigram")
    parser.add_argument("--model_name_or_path", default="default")
    parser.add_argument("--prompts", help="file that was sampled from; default: end-of-text alone")
    parser.add_argument("--chat_template", action="store_true", help="a prompt is a user's turn")
    parser.add_argument("--max_bytes", type=int, help="of the line with a size budget; default: 1 %% of float32")
    parser.add_argument("--bits", type=int, default=4, help="of the line with a size budget")
    parser.add_argument("--sequences", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", required=True)
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
