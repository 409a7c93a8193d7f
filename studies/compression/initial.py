"""Should the initial distribution be quantised, as the paper does? Bytes, likelihood and guidance with and without.

    python -m studies.compression.initial --data validation.jsonl --output runs/initial.jsonl
    python -m studies.compression.initial --data validation.jsonl --hmm runs/hmm/best --output initial.jsonl

KLseq: nats per token lost on sequences that the float HMM samples. Guidance: KL between what the decoder samples from
with the float HMM and with the compressed one, a mean over the tokens of sentences written for frequent keywords. Each
result is a line of OUTPUT; what is there already is not measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.evaluation.concept_sets import ConceptSet
from ctrlg.evaluation.writing import LEAST_WORDS, MOST_WORDS, write_sentences
from ctrlg.files.records import markdown_rows
from ctrlg.inspection import kl_sequence
from ctrlg.quantization import comparison_hmm
from ctrlg.quantization.model import QuantizedHMM
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.fidelity.guidance import GuidedText, divergences, frequent_keywords, guided, guided_text
from studies.shared import Key, Line, Measured, Study, StudyFlags, grouped

SUFFIX, BEAMS, MOST_TOKENS = ".", 4, 24


class Written(NamedTuple):
    """A text, and what the decoder samples its tokens from with the float HMM, log-probabilities [T, V]."""

    text: GuidedText
    expected: Tensor


class InitialDistribution(Study):
    key = ("hmm", "method", "bits", "initial", "keywords", "sequences")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.share("hmm", "model", "concept_sets", "bits", "sequences", keywords=20)
        flags.share(methods=["norm-q", "norm-q-max", "log-norm-q"])

    def check(self) -> None:
        self.keywords = frequent_keywords(self.sets.values(), self.arguments.keywords)

    def batches(self) -> Iterable[Sequence[Key]]:
        chosen = self.arguments
        for method, bits, initial in product(chosen.methods, chosen.bits, (False, True)):
            yield [(chosen.hmm, method, bits, initial, chosen.keywords, chosen.sequences)]

    def measure(self, keys: Sequence[Key]) -> Measured:
        for key in keys:
            _, method, bits, initial, _, sequences = key
            hmm = comparison_hmm(self.reference, method, bits, initial=initial)
            if not isinstance(hmm, QuantizedHMM):
                raise ArgumentError(f"method {method!r} has no compressed form", hint="see docs/methods.md")
            lost = kl_sequence(self.reference, hmm, sequences=sequences)
            kl = torch.cat([divergences(each.expected, guided(each.text, hmm).log_probs).kl for each in self.written])
            values = {"bytes": hmm.packed_nbytes, "kl_sequence": lost.mean, "kl_error": lost.error}
            yield key, {**values, "guidance_kl": float(kl.mean()), "steps": len(kl)}

    @cached_property
    def written(self) -> list[Written]:
        """A sentence for each keyword, written with the float HMM."""
        hmm = self.reference
        model, tokenizer = self.exact_models
        vocabulary = Vocabulary.of(tokenizer, hmm.vocab_size, hmm.eos_token_id)
        suffix_ids = [*tokenizer.encode(SUFFIX, add_special_tokens=False), hmm.eos_token_id]
        sets = [ConceptSet(number, (word,), ()) for number, word in enumerate(self.keywords)]
        texts = []
        for sentence in write_sentences(model, tokenizer, hmm, sets, BEAMS, MOST_TOKENS):
            dfa = sentence.concept_set.constraint(LEAST_WORDS, MOST_WORDS).compile(vocabulary, suffix=SUFFIX)
            text = guided_text(model, vocabulary, dfa, sentence.best.token_ids, suffix_ids, MOST_TOKENS)
            texts.append(Written(text, guided(text, hmm).log_probs.float()))
        return texts

    def wants(self, line: Line) -> bool:
        return line["hmm"] == self.arguments.hmm

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each method and bits: the initial distribution left as it is, and quantized."""
        heads = [
            f"{what}, initial {how}" for what in ("bytes", "KLseq", "guidance KL") for how in ("float32", "quantised")
        ]
        rows: list[list[object]] = [["method", "bits", *heads]]
        for (method, bits), found in grouped(lines, "method", "bits").items():
            pair = list({line["initial"]: line for line in sorted(found, key=lambda line: line["initial"])}.values())
            sizes = [f"{line['bytes']:,}" for line in pair]
            losses = [f"{line['kl_sequence']:.4f} ± {line['kl_error']:.4f}" for line in pair]
            rows.append([method, bits, *sizes, *losses, *(f"{line['guidance_kl']:.2g}" for line in pair)])
        return markdown_rows(rows)


if __name__ == "__main__":
    InitialDistribution.main()
