"""What does look-ahead to the end of the budget buy, and what the HMM on top of it?

    python -m studies.look_ahead.study --tasks 200 --output runs/look_ahead.jsonl

Seeded tasks, a third each: a pattern, a JSON schema, one of eight texts. SmolLM2-135M-Instruct answers in four ways,
the likeliest token at a time, in one loop: "hmm" under our mask, guided by the embedded HMM; "mask" under our mask
alone; "outlines-core" and "xgrammar" under theirs. A tight budget is 1.25 times the fewest tokens that any answer
needs, a loose one three times. Ours are told the budget; the others' masks know none, so they write once and are judged
by how many tokens they took. An answer is complete when it has ended within the budget and fits, by `re`, `jsonschema`
or comparison. Compile: seconds of the clock before the first token, look-ahead tables included, for the tight budget;
token: milliseconds of the logits processor alone; medians, since a busy machine has long tails. Log-probabilities are
the language model's, without any mask, of answers with their end.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from transformers import LogitsProcessorList

from ctrlg.automata.utf8 import whole_characters
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.defaults import EXACT_STATES
from ctrlg.distillation.sampling.prompts import encode_prompts
from ctrlg.generation import score_generated_ids
from ctrlg.generation.compiled import Place, vocabulary_of
from ctrlg.generation.prepared import PreparedConstraints
from ctrlg.generation.search import SearchSettings, search
from ctrlg.loading.language_models import INSTRUCT
from ctrlg.parts.compiled_once import compiled_once
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.look_ahead.masks import MASKS, require
from studies.look_ahead.tasks import KINDS, Task, task
from studies.shared import Key, Line, Measured, Study, StudyFlags, table_of

TIGHT, LOOSE = 1.25, 3.0
WAYS = ("hmm", "mask", *MASKS)
BUDGETS = ("tight", "loose")


class Asked(NamedTuple):
    """A task, its prompt's ids, and the most tokens of an answer by budget."""

    task: Task
    prompt: list[int]
    budgets: dict[str, int]


class LookAhead(Study):
    key = ("way", "budget", "task")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--tasks", type=int, default=200, help="of all kinds together, in turn")
        flags.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
        flags.add_argument("--together", type=int, default=20, help="tasks answered side by side")
        flags.share("seed", hmm=INSTRUCT, model=INSTRUCT)

    def check(self) -> None:
        for way in MASKS.keys() & set(self.arguments.ways):
            require(way)

    def batches(self) -> Iterable[Sequence[Key]]:
        for first in range(0, self.arguments.tasks, self.arguments.together):
            numbers = range(first, min(first + self.arguments.together, self.arguments.tasks))
            for way in self.arguments.ways:
                if way in MASKS:
                    yield [(way, budget, number) for budget in BUDGETS for number in numbers]
                else:
                    yield from ([(way, budget, number) for number in numbers] for budget in BUDGETS)

    def measure(self, keys: Sequence[Key]) -> Measured:
        """Answers side by side; of another package's mask once for both budgets."""
        way = keys[0][0]
        self._warm_up(way)
        numbers = list(dict.fromkeys(number for _, _, number in keys))
        asked = [self._asked(number) for number in numbers]
        budget = "loose" if way in MASKS else keys[0][1]
        width, most = max(len(each.prompt) for each in asked), max(each.budgets[budget] for each in asked)
        processors, compiling = [], []
        for each in asked:
            started = time.perf_counter()
            processors.append(self._processor(way, each, each.budgets[budget], width))
            compiling.append(time.perf_counter() - started)
        settings = SearchSettings(most + 1, 1, False, 1, self._end, None, False, 1.0, {})
        pairs = [LogitsProcessorList([processor]) for processor in processors]
        rows = search(self.models[0], [each.prompt for each in asked], pairs, settings)
        written: dict[int, dict[str, Any]] = {}
        for number, each, row, processor, seconds in zip(numbers, asked, rows, processors, compiling, strict=True):
            ids = row[0].tolist()
            ids = ids[: ids.index(self._end)] if self._end in ids else ids
            (scored,) = score_generated_ids(self.models[0], [ids], each.prompt, [self._end])
            written[number] = {
                "kind": each.task.kind,
                "text": self._vocabulary.join(ids).decode("utf-8", errors="replace"),
                "tokens": len(ids),
                "log_prob": scored.log_prob,
                "compile": seconds,
                "token": processor.seconds / (len(ids) + 1),
            }
        for key in keys:
            _, budget, number = key
            each, line = self._asked(number), written[number]
            ended = line["tokens"] <= each.budgets[budget]
            complete = ended and each.task.fits(line["text"])
            yield key, line | {"most": each.budgets[budget], "ended": ended, "complete": complete}

    def _processor(self, way: str, asked: Asked, most: int, width: int) -> Any:
        """A logits processor for one answer, with a clock `seconds`."""
        if way in MASKS:
            return self._masks[way].processor(asked.task, width)
        hmm = self.hmm if way == "hmm" else None
        if most == asked.budgets["tight"]:
            compiled_once.clear()  # else the automaton is there already
        place = Place("", "", False, (1, most), False)
        (prepared,) = PreparedConstraints(hmm, EXACT_STATES, 0).prepare(
            self._vocabulary, [asked.task.constraint()], [place]
        )
        strength = 1.0 if hmm is None else hmm.strength
        return ConstraintLogitsProcessor.from_guide(hmm, prepared.guide, [self._end] * width, strength=strength)

    def _warm_up(self, way: str) -> None:
        """Load what a process loads once, so that no answer is charged with it."""
        if way not in self._warm:
            self._warm.add(way)
            asked = self._asked(0)
            processor = self._processor(way, asked, 20, len(asked.prompt))
            settings = SearchSettings(4, 1, False, 1, self._end, None, False, 1.0, {})
            search(self.models[0], [asked.prompt], [LogitsProcessorList([processor])], settings)

    @cached_property
    def _warm(self) -> set[str]:
        return set()

    def _asked(self, number: int) -> Asked:
        """A task and how many tokens it may take."""
        if number not in self._known:
            given = task(number, self.arguments.seed)
            dfa = given.constraint().compile(self._vocabulary) & whole_characters(self._vocabulary)
            fewest = dfa.shortest_length() or 1
            (prompt,) = encode_prompts(self.models[1], [given.prompt], chat_template=True)
            budgets = {"tight": math.ceil(TIGHT * fewest), "loose": math.ceil(LOOSE * fewest)}
            self._known[number] = Asked(given, prompt, budgets)
        return self._known[number]

    @cached_property
    def _known(self) -> dict[int, Asked]:
        return {}

    @cached_property
    def _masks(self) -> dict[str, Any]:
        return {way: MASKS[way](*self.models, self._end) for way in MASKS if way in self.arguments.ways}

    @cached_property
    def _end(self) -> int:
        return self.hmm.eos_token_id

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return vocabulary_of(*self.models, self.hmm)

    def table(self, lines: Sequence[Line]) -> str:
        """For each budget a row for each way, of the tasks that all have answered."""
        by = {(line["way"], line["budget"], line["task"]): line for line in lines}
        ways = [way for way in self.arguments.ways if any(line["way"] == way for line in lines)]
        tasks = sorted({line["task"] for line in lines if line["task"] < self.arguments.tasks})
        tasks = [number for number in tasks if all((way, budget, number) in by for way in ways for budget in BUDGETS)]
        rows: list[dict[str, object]] = []
        for budget in BUDGETS:
            shared = [number for number in tasks if all(by[way, budget, number]["complete"] for way in ways)]
            for way in ways:
                mine = [by[way, budget, number] for number in tasks]
                rows.append({"budget": budget, "way": way, "tasks": len(mine), "complete": _share(mine)})
                rows[-1] |= {kind: _share([line for line in mine if line["kind"] == kind]) for kind in KINDS}
                rows[-1] |= {
                    "not ended": sum(not line["ended"] for line in mine),
                    "nats a token": _mean([line["log_prob"] for line in mine if line["complete"]]),
                    "nats": _mean([_total(line) for line in mine if line["complete"]]),
                    f"nats a token, of the {len(shared)} complete in all ways": _mean(
                        [by[way, budget, number]["log_prob"] for number in shared]
                    ),
                    "nats, of these": _mean([_total(by[way, budget, number]) for number in shared]),
                    "compile, s": _median([line["compile"] for line in mine if budget == "tight"]),
                    "token, ms": _median([1000 * line["token"] for line in mine]),
                }
        return "\n\n".join(table_of([row for row in rows if row["budget"] == budget]) for budget in BUDGETS)


def _total(line: Line) -> float:
    """Log-probability of an answer and its end."""
    return line["log_prob"] * (line["tokens"] + 1)


def _share(lines: Sequence[Line]) -> str:
    return f"{100 * sum(line['complete'] for line in lines) / len(lines):.0f} %" if lines else ""


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f}" if values else ""


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f}" if values else ""


if __name__ == "__main__":
    LookAhead.main()
