"""What does a long text under a constraint take: two keywords and 300 to 350 words within 500 tokens?

    python -m studies.ifeval.long_texts --output runs/long_texts.jsonl

One sampled text by SmolLM2-135M-Instruct with the embedded HMM, and one under the mask alone, each in a process of its
own. Seconds are the processor's, of one thread and without loading the models: before the first token (automata and
look-ahead tables), the constraint's at all tokens, and everything with the language model. Memory is the most that the
process ever held, and the most before the constraint came.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterable, Sequence
from typing import Any

from ctrlg.constraints import Keywords, WordCount
from ctrlg.distillation.sampling.prompts import encode_prompts
from ctrlg.generation import Generator
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import INSTRUCT, load_language_model
from studies.families.study import processor_time
from studies.shared import Key, Line, Measured, Study, StudyFlags, table_of

WAYS = ("hmm", "mask")
KEYWORDS, WORDS, MOST_TOKENS = ("lighthouse", "storm"), (300, 350), 500
PROMPT = "Write a story about a lighthouse in a storm."


class LongTexts(Study):
    key = ("way", "seed")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
        flags.share("seeds", hmm=INSTRUCT, model=INSTRUCT)

    def batches(self) -> Iterable[Sequence[Key]]:
        return [[(way, seed)] for seed in self.arguments.seeds for way in self.arguments.ways]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """A text, written in a new process."""
        for way, seed in keys:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                hmm = self.arguments.hmm if way == "hmm" else None
                yield (way, seed), pool.apply(written, (self.arguments.model, hmm, seed))

    def table(self, lines: Sequence[Line]) -> str:
        """A row for each text."""
        columns = ("way", "seed", "kept", "words", "tokens", "before", "constraint", "all", "gb_before", "gb")
        return table_of([{name: _shown(line[name]) for name in columns} for line in lines])


def written(model_name: str, hmm_name: str | None, seed: int) -> dict[str, Any]:
    """A text and what it took."""
    model, tokenizer = load_language_model(model_name)
    generator = Generator(model, tokenizer, None if hmm_name is None else load_hmm(hmm_name))
    (prompt,) = encode_prompts(tokenizer, [PROMPT], chat_template=True)
    short: dict[str, Any] = {"do_sample": True, "seed": seed, "progress": False}
    generator(Keywords(["sea"]), prompt, max_new_tokens=8, **short)  # what a process loads once
    constraint = Keywords([[word] for word in KEYWORDS]) & WordCount(*WORDS)
    held, started = _gigabytes(), time.process_time()
    generator.prepare(constraint, prompt, max_new_tokens=MOST_TOKENS)
    prepared = time.process_time()
    with processor_time():
        (best,) = generator(constraint, prompt, max_new_tokens=MOST_TOKENS, **short)
    ended = time.process_time()
    return {
        "text": best.text,
        "kept": best.satisfied,
        "words": len(best.text.split()),
        "tokens": len(best.token_ids),
        "log_prob": best.log_prob,
        "before": prepared - started,
        "constraint": best.timing.symbolic,
        "all": ended - started,
        "gb_before": held,
        "gb": _gigabytes(),
    }


def _gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _shown(value: Any) -> Any:
    return f"{value:.2f}" if isinstance(value, float) else value


if __name__ == "__main__":
    LongTexts.main()
