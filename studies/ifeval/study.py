"""How many of IFEval's prompts are followed to the letter by a small model under the mask alone?

    python -m studies.ifeval.study --prompts ifeval.jsonl --output runs/ifeval.jsonl

PROMPTS has IFEval's lines: `prompt`, `instruction_id_list`, `kwargs`. Those whose instructions all have a constraint
are answered by SmolLM2-135M-Instruct, no HMM; `lm_eval` judges strictly, by prompt and by instruction. Seconds
are those of the clock: to compile the constraint, and to write. Memory is the most that the process ever held.
"""

from __future__ import annotations

import json
import resource
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ctrlg.distillation.sampling.prompts import encode_prompts
from ctrlg.errors import ConstraintError
from ctrlg.files.reading import parse_json_lines, read_text
from ctrlg.generation import generate
from ctrlg.loading.language_models import INSTRUCT
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.ifeval.checker import checkers, followed
from studies.ifeval.instructions import constraint_of
from studies.shared import Key, Line, Measured, Study, StudyFlags, table_of

MAX_STATES = 200_000


class IFEval(Study):
    key = ("prompt",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--prompts", required=True, help="IFEval's lines")
        flags.add_argument("--first", type=int, default=0, help="the first so many prompts; 0: all")
        flags.add_argument("--max_new_tokens", type=int, default=500, help="of an answer")
        flags.share("beams", model=INSTRUCT)

    def check(self) -> None:
        checkers()

    @cached_property
    def tests(self) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        """Instructions by prompt."""
        path = Path(self.arguments.prompts)
        lines = [line for _, line in parse_json_lines(read_text(path), path, json.dumps({"prompt": "..."}))]
        return {
            line["prompt"]: list(zip(line["instruction_id_list"], line["kwargs"], strict=True))
            for line in (lines[: self.arguments.first] if self.arguments.first else lines)
        }

    def batches(self) -> Iterable[Sequence[Key]]:
        return [[(prompt,)] for prompt in self.tests]

    def measure(self, keys: Sequence[Key]) -> Measured:
        """An answer to a prompt, and which instructions it follows; or why there is none."""
        model, tokenizer = self.models
        vocabulary = Vocabulary.of(tokenizer, model.config.vocab_size)
        for (prompt,) in keys:
            instructions = self.tests[prompt]
            found: dict[str, Any] = {"instructions": [kind for kind, _ in instructions]}
            started = time.perf_counter()
            try:
                dfa = constraint_of(instructions).compile(vocabulary, max_states=MAX_STATES)
                compiled = time.perf_counter()
                (best, *_) = generate(
                    model,
                    tokenizer,
                    None,
                    dfa,
                    encode_prompts(tokenizer, [prompt], chat_template=True)[0],
                    max_new_tokens=self.arguments.max_new_tokens,
                    num_beams=self.arguments.beams,
                    max_states=MAX_STATES,
                    no_repeat_ngram_size=0,
                    progress=False,
                )
            except ConstraintError as error:
                yield (prompt,), found | {"covered": False, "why": error.message}
                continue
            yield (
                (prompt,),
                found
                | {
                    "covered": True,
                    "text": best.text,
                    "followed": followed(best.text, instructions, prompt),
                    "states": dfa.num_states,
                    "compile_seconds": compiled - started,
                    "seconds": time.perf_counter() - compiled,
                    "tokens": len(best.token_ids),
                    "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
                },
            )

    def table(self, lines: Sequence[Line]) -> str:
        """Accuracy, time and memory; what was not followed, by type; and why prompts have no constraint."""
        covered = [line for line in lines if line["covered"]]
        if not covered:
            return table_of([{"prompts": len(lines), "covered": 0}])
        outcomes = [pair for line in covered for pair in zip(line["instructions"], line["followed"], strict=True)]
        row = {
            "prompts": len(lines),
            "covered": len(covered),
            "followed": _share([all(line["followed"]) for line in covered]),
            "instructions": len(outcomes),
            "these followed": _share([right for _, right in outcomes]),
            "compile, seconds": _mean(covered, "compile_seconds"),
            "write, seconds": _mean(covered, "seconds"),
            "tokens": _mean(covered, "tokens"),
            "GB, most": round(max(line["gigabytes"] for line in covered), 2),
        }
        wrong = Counter(kind for kind, right in outcomes if not right)
        failures = [{"not followed": kind, "times": count} for kind, count in wrong.most_common()]
        whys = Counter(line["why"].split(":")[0][:100] for line in lines if not line["covered"])
        missing = [{"not covered because": why, "prompts": count} for why, count in whys.most_common()]
        return "\n\n".join(filter(None, map(table_of, ([row], failures, missing))))


def _share(outcomes: Sequence[bool]) -> str:
    return f"{100 * sum(outcomes) / len(outcomes):.1f} %"


def _mean(lines: Sequence[Line], name: str) -> float:
    return round(sum(line[name] for line in lines) / len(lines), 2)


if __name__ == "__main__":
    IFEval.main()
