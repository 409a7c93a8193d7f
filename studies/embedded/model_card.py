"""What does a model card say? Likelihood of an HMM before and after compression, its language model and a unigram.

    python -m studies.embedded.model_card --hmm runs/hmm512/best --held_out runs/samples/commongen.test \\
        --training runs/samples/commongen.train.0 --model default --output runs/card.md
    python -m studies.embedded.model_card --hmm runs/instruct/best --held_out runs/instruct/data.test \\
        --prompts train.txt --chat_template --training runs/instruct/data.train.0 --model instruct \\
        --bits 5 --max_bytes 2980000 --output runs/card.md

KLseq (nats lost per token on sequences sampled from the float HMM) measures the compression alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ctrlg.distillation.likelihoods import language_model_log_likelihood, unigram_log_likelihood
from ctrlg.distillation.sampling.prompts import encode_prompts, read_prompts
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.files.outputs import check_input_file
from ctrlg.hmm import HMM
from ctrlg.inspection import fidelity_table, markdown_table
from ctrlg.quantization.rows import check_bits
from studies.shared import Key, Line, Measured, Study, StudyFlags


class ModelCard(Study):
    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--hmm", required=True, help="folder of a float HMM")
        add("--held_out", required=True, help="sampled sequences it has not seen")
        add("--prompts", default="", help="file that was sampled from; default: end-of-text alone")
        add("--chat_template", action="store_true", help="a prompt is a user's turn")
        add("--max_bytes", type=int, help="of the line with a size budget; default: 1 %% of float32")
        add("--bits", type=int, default=4, help="of the line with a size budget")
        add("--output", dest="table", required=True, help="Markdown file, as --table")
        flags.share("training", "model", "seed", sequences=1000)

    def check(self) -> None:
        for file in (self.arguments.held_out, *self.arguments.training):
            check_input_file(file, "the samples")
        check_bits(self.arguments.bits, 8)

    def batches(self) -> Iterable[Sequence[Key]]:
        return [[()]]

    def measure(self, keys: Sequence[Key]) -> Measured:
        chosen = self.arguments
        hmm = HMM.from_pretrained(chosen.hmm, map_location=chosen.device)
        held_out, budget = read_sequences(chosen.held_out), chosen.max_bytes or hmm.nbytes // 100
        settings: list[dict[str, Any]] = [
            {"method": method, "bits": bits} for method in ("norm-q", "log-norm-q") for bits in (8, 4, 3, 2)
        ]
        settings.append({"method": "log-norm-q", "bits": chosen.bits, "max_bytes": budget})
        rows = fidelity_table(hmm, settings, held_out, sequences=chosen.sequences, length=24, seed=chosen.seed)
        model, tokenizer = self.models
        prompts = [[hmm.eos_token_id]]
        if chosen.prompts:
            prompts = encode_prompts(tokenizer, read_prompts(chosen.prompts), chosen.chat_template)
        unigram = map(read_sequences, chosen.training)
        values = {
            "texts": len(held_out),
            "tokens": int(token_mask(held_out, hmm.eos_token_id).sum()),
            "language_model": language_model_log_likelihood(model, prompts, held_out, hmm.eos_token_id),
            "unigram": unigram_log_likelihood(unigram, held_out, hmm.vocab_size, hmm.eos_token_id),
            "budget": budget,
            "rows": rows,
        }
        yield keys[0], values

    def table(self, lines: Sequence[Line]) -> str:
        (card,) = lines
        return (
            f"Held-out text: {card['texts']:,} sampled texts, {card['tokens']:,} tokens.\n"
            f"Language model on it: {card['language_model']:.3f} nats per token; unigram: {card['unigram']:.3f}.\n"
            f"The last line is compressed to {card['budget']:,} bytes at most.\n\n{markdown_table(card['rows'])}"
        )


if __name__ == "__main__":
    ModelCard.main()
