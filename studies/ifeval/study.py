"""How many of IFEval's prompts are followed to the letter by a small model under the mask alone?

    python -m studies.ifeval.study --prompts ifeval.jsonl --sample 100 --output runs/ifeval.jsonl

PROMPTS has IFEval's lines: `prompt`, `instruction_id_list`, `kwargs`. Those whose instructions all have a constraint
are answered by SmolLM2-135M-Instruct, no HMM, one sampled text each, several side by side; `lm_eval` judges strictly,
by prompt and by instruction. Seconds are those of the clock: to compile a constraint with all it needs before the first
token, and to write, a batch's shared out over its texts. Memory is the most that the process ever held.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ctrlg.constraints import Constraint
from ctrlg.distillation.sampling.prompts import encode_prompts
from ctrlg.errors import BudgetError, ConstraintError
from ctrlg.files.reading import parse_json_lines, read_text
from ctrlg.generation import Generator
from ctrlg.loading.language_models import INSTRUCT
from studies.ifeval.checker import checkers, followed
from studies.ifeval.instructions import constraint_of
from studies.shared import Key, Line, Measured, Study, StudyFlags, table_of


class IFEval(Study):
    key = ("prompt",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--prompts", required=True, help="IFEval's lines")
        flags.add_argument("--sample", type=int, default=0, help="so many prompts, chosen by --seed; 0: all")
        flags.add_argument("--together", type=int, default=8, help="prompts answered side by side")
        flags.add_argument("--temperature", type=float, default=0.7, help="of the sampled texts")
        flags.share("seed", model=INSTRUCT, max_new_tokens=500)

    def check(self) -> None:
        checkers()

    @cached_property
    def tests(self) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        """Instructions by prompt."""
        path = Path(self.arguments.prompts)
        lines = [line for _, line in parse_json_lines(read_text(path), path, json.dumps({"prompt": "..."}))]
        if self.arguments.sample:
            random.Random(self.arguments.seed).shuffle(lines)
            lines = lines[: self.arguments.sample]
        return {line["prompt"]: list(zip(line["instruction_id_list"], line["kwargs"], strict=True)) for line in lines}

    def batches(self) -> Iterable[Sequence[Key]]:
        prompts = list(self.tests)
        for first in range(0, len(prompts), self.arguments.together):
            yield [(prompt,) for prompt in prompts[first : first + self.arguments.together]]

    @cached_property
    def generator(self) -> Generator:
        return Generator(*self.models, kept=self.arguments.together)

    def measure(self, keys: Sequence[Key]) -> Measured:
        """Answers to prompts, and which instructions they follow; or why there is none."""
        ready: dict[str, tuple[Constraint, dict[str, Any]]] = {}
        for (prompt,) in keys:
            found: dict[str, Any] = {"instructions": [kind for kind, _ in self.tests[prompt]]}
            started = time.perf_counter()
            try:
                constraint = constraint_of(self.tests[prompt])
                self.generator.prepare(constraint, prompt, max_new_tokens=self.arguments.max_new_tokens)
            except ConstraintError as error:
                tokens = isinstance(error, BudgetError)
                yield (prompt,), found | {"covered": False, "why": error.message, "tokens_missing": tokens}
                continue
            ready[prompt] = constraint, found | {"covered": True, "compile_seconds": time.perf_counter() - started}
        if not ready:
            return
        started = time.perf_counter()
        results = self.generator.batch(
            [constraint for constraint, _ in ready.values()],
            encode_prompts(self.models[1], list(ready), chat_template=True),
            max_new_tokens=self.arguments.max_new_tokens,
            do_sample=True,
            temperature=self.arguments.temperature,
            seed=self.arguments.seed,
            progress=False,
        )
        seconds = time.perf_counter() - started
        for (prompt, (_, found)), (best,) in zip(ready.items(), results, strict=True):
            yield (
                (prompt,),
                found
                | {
                    "text": best.text,
                    "holds": best.satisfied,
                    "followed": followed(best.text, self.tests[prompt], prompt),
                    "seconds": seconds / len(ready),
                    "mask_seconds": best.timing.symbolic,
                    "tokens": len(best.token_ids),
                    "log_prob": best.log_prob,
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
            "compile, s, median": f"{statistics.median(line['compile_seconds'] for line in covered):.2f}",
            "longest": f"{max(line['compile_seconds'] for line in covered):.1f}",
            "write, seconds": _mean(covered, "seconds"),
            "tokens": _mean(covered, "tokens"),
            "mask, ms a token": f"{1000 * _sum(covered, 'mask_seconds') / _sum(covered, 'tokens'):.1f}",
            "GB, most": round(max(line["gigabytes"] for line in covered), 2),
        }
        wrong = Counter(kind for kind, right in outcomes if not right)
        failures = [{"not followed": kind, "times": count} for kind, count in wrong.most_common()]
        whys = Counter(line["why"][:100] for line in lines if not line["covered"])
        missing = [{"not covered because": why, "prompts": count} for why, count in whys.most_common()]
        return "\n\n".join(filter(None, map(table_of, ([row], failures, missing))))


def _share(outcomes: Sequence[bool]) -> str:
    return f"{100 * sum(outcomes) / len(outcomes):.1f} %"


def _mean(lines: Sequence[Line], name: str) -> float:
    return round(_sum(lines, name) / len(lines), 2)


def _sum(lines: Sequence[Line], name: str) -> float:
    return sum(line[name] for line in lines)


if __name__ == "__main__":
    IFEval.main()
