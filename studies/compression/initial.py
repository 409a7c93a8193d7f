"""Should the initial distribution be quantised, as the paper does? Bytes, likelihood and guidance with and without.

    python -m studies.compression.initial --dataset_path validation.jsonl --output runs/initial.jsonl
    python -m studies.compression.initial --dataset_path validation.jsonl --hmm runs/hmm/best --output initial.jsonl

KLseq: nats per token lost on sequences that the float HMM samples. Guidance: KL between what the decoder samples from
with the float HMM and with the compressed one, a mean over the tokens of sentences written for frequent keywords. Each
result is a line of OUTPUT; what is there already is not measured again.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from ctrlg.errors import ArgumentError
from ctrlg.evaluation.benchmark import float_hmm
from ctrlg.evaluation.concept_sets import ConceptSet, read_concept_sets
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS, write_sentences
from ctrlg.files.records import StudyLines, markdown_rows
from ctrlg.hmm import HMM
from ctrlg.inspection import kl_sequence
from ctrlg.loading.language_models import load_language_model
from ctrlg.quantization import comparison_hmm
from ctrlg.quantization.model import QuantizedHMM
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.fidelity.guidance import GuidedText, divergences, frequent_keywords, guided, guided_text

KEY = ("hmm", "method", "bits", "initial", "keywords", "sequences")
SUFFIX, BEAMS, MOST_TOKENS = ".", 4, 24


def main() -> None:
    arguments = parse_arguments()
    keywords = frequent_keywords(read_concept_sets(arguments.dataset_path), arguments.keywords)
    lines = StudyLines(arguments.output, KEY)
    reference = float_hmm(arguments.hmm, arguments.device)
    texts: list[tuple[GuidedText, torch.Tensor]] = []
    for method in arguments.methods:
        for bits in arguments.bits:
            for initial in (False, True):
                key = (arguments.hmm, method, bits, initial, arguments.keywords, arguments.sequences)
                if key in lines:
                    continue
                texts = texts or written(arguments.base_model, reference, keywords, arguments.device)
                hmm = comparison_hmm(reference, method, bits, initial=initial)
                if not isinstance(hmm, QuantizedHMM):
                    raise ArgumentError(f"method {method!r} has no compressed form", hint="see docs/methods.md")
                lost = kl_sequence(reference, hmm, sequences=arguments.sequences)
                kl = torch.cat([divergences(expected, guided(text, hmm).log_probs).kl for text, expected in texts])
                values = {"bytes": hmm.packed_nbytes, "kl_sequence": lost.mean, "kl_error": lost.error}
                lines.add(key, {**values, "guidance_kl": float(kl.mean()), "steps": len(kl)})
    lines.close()
    say(table([line for line in lines.lines if line["hmm"] == arguments.hmm]))


def written(base_model: str, hmm: HMM, keywords: list[str], device: str) -> list[tuple[GuidedText, torch.Tensor]]:
    """A sentence for each keyword, written with the float HMM, and what the decoder samples its tokens from."""
    model, tokenizer = load_language_model(base_model, device)
    vocabulary = Vocabulary.of(tokenizer, hmm.vocab_size, hmm.eos_token_id)
    suffix_ids = [*tokenizer.encode(SUFFIX, add_special_tokens=False), hmm.eos_token_id]
    sets = [ConceptSet(number, (word,), ()) for number, word in enumerate(keywords)]
    texts = []
    for sentence in write_sentences(model, tokenizer, hmm, sets, BEAMS, MOST_TOKENS):
        dfa = sentence.concept_set.promise(LEAST_WORDS, MOST_WORDS).compile(vocabulary, suffix=SUFFIX)
        text = guided_text(model, vocabulary, dfa, sentence.best.token_ids, suffix_ids, MOST_TOKENS)
        texts.append((text, guided(text, hmm).log_probs.float()))
    return texts


def table(lines: list[dict[str, Any]]) -> str:
    """A row for each method and bits: the initial distribution left as it is, and quantised."""
    found = {(line["method"], line["bits"], line["initial"]): line for line in lines}
    rows: list[list[Any]] = [
        ["method", "bits"]
        + [f"{what}, initial {how}" for what in ("bytes", "KLseq", "guidance KL") for how in ("float32", "quantised")]
    ]
    for method, bits in dict.fromkeys(key[:2] for key in found):
        pair = [found[method, bits, initial] for initial in (False, True) if (method, bits, initial) in found]
        sizes = [f"{line['bytes']:,}" for line in pair]
        losses = [f"{line['kl_sequence']:.4f} ± {line['kl_error']:.4f}" for line in pair]
        rows.append([method, bits, *sizes, *losses, *(f"{line['guidance_kl']:.2g}" for line in pair)])
    return markdown_rows(rows)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--hmm", default="default", help="folder or hub id; unpacked if compressed (%(default)s)")
    parser.add_argument("--base_model", default="default", help="the language model it comes from (%(default)s)")
    parser.add_argument("--methods", nargs="+", default=["norm-q", "norm-q-max", "log-norm-q"], help="that are coded")
    parser.add_argument("--bits", nargs="+", type=int, default=[8, 4, 3, 2])
    parser.add_argument("--dataset_path", required=True, help="concept sets, JSON lines, for the keywords")
    parser.add_argument("--keywords", type=int, default=20, help="the most frequent concepts (%(default)s)")
    parser.add_argument("--sequences", type=int, default=500, help="sampled for KLseq, of 32 tokens (%(default)s)")
    parser.add_argument("--output", required=True, help="JSON lines")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
